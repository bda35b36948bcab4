//! What the command line says.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Builds images in a Kubernetes cluster.
#[derive(Parser, Clone, Debug)]
#[command(name = "garden-build-frontend", version, max_term_width = 100)]
pub struct Arguments {
    /// The project's directory, or its file
    #[arg(long, global = true, default_value = ".", value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) project: PathBuf,
    /// The environment, or `namespace.environment`; without it, the project's default
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Set a variable of the project
    #[arg(long, global = true, value_name = "NAME=VALUE")]
    pub(crate) var: Vec<Assignment>,
    /// How progress is shown
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) progress: ProgressOption,
    /// Print events, results and errors as JSON, one object a line: short for `--progress json`
    #[arg(long, global = true, conflicts_with = "progress")]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressOption {
    /// `tty` on a terminal, else `plain`
    #[default]
    Auto,
    /// A block that is drawn again and again
    Tty,
    /// Line after line
    Plain,
    /// One JSON object a line, on the standard output
    Json,
}

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Verb {
    /// Build images and push them, unless they exist
    Build(Build),
    /// Show whether images exist
    Status(Images),
    /// Show what builds would create in the cluster
    Plan(Images),
    /// Build images unless they exist, and copy them to where they are published
    Publish(Publish),
    /// Install what builds need in the cluster
    Init,
    /// Show what of the registry in the cluster nobody uses, or delete it
    CleanUp(CleanUp),
    /// Remove what killed clients have left, and stop builders that nobody uses
    Sweep,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Which images a command is about, and how they are built.
#[derive(Args, Clone, Debug)]
pub(crate) struct Images {
    /// A build of the project; or a name and the directory with its Dockerfile
    #[arg(value_name = "NAME[=DIRECTORY]", required_unless_present = "all")]
    pub(crate) names: Vec<Image>,
    /// All builds of the project
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// Set a build argument of each
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    pub(crate) build_args: Vec<Assignment>,
    /// Build this stage of the Dockerfile
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Build for this platform, such as `linux/arm64`
    #[arg(long = "platform", value_name = "OS/ARCH")]
    pub(crate) platforms: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) images: Images,
    /// Build even what exists, and replace it
    #[arg(long)]
    pub(crate) force: bool,
    /// Run every step, whatever the caches hold
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// End a build that takes longer, such as `90s` or `1h 30m`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Build so many at a time; without it, all at once
    #[arg(long, short, value_name = "COUNT", value_parser = at_least_one)]
    pub(crate) jobs: Option<usize>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) images: Images,
    /// Publish one image under this name, whatever `publishId` of the project says
    #[arg(long, value_name = "REGISTRY/NAME[:TAG]", conflicts_with = "all")]
    pub(crate) to: Option<String>,
    /// The tag, which may be a template, such as `1.0-${module.hash}`
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// The registry speaks plain HTTP
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct CleanUp {
    /// Delete it, after you have looked
    #[arg(long)]
    pub(crate) delete: bool,
    /// Keep what was pushed less than this long ago, such as `24h`; without it, two hours
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) keep_younger_than: Option<Duration>,
    /// Also delete build caches that were pushed longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) caches_older_than: Option<Duration>,
    /// Keep this image, which only somebody outside of the cluster uses
    #[arg(long, value_name = "IMAGE")]
    pub(crate) also_in_use: Vec<String>,
}

/// A build of the project, or a directory with a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) directory: Option<PathBuf>,
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, directory) = match text.split_once('=') {
            Some((name, directory)) => (name, Some(directory)),
            None => (text, None),
        };
        if name.is_empty() || directory.is_some_and(str::is_empty) {
            return Err("write NAME for a build of the project, or NAME=DIRECTORY".to_owned());
        }
        Ok(Self { name: name.to_owned(), directory: directory.map(PathBuf::from) })
    }
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("write NAME=VALUE".to_owned()),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration.try_into().map_err(|_| "a duration cannot be negative".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a number, at least 1".to_owned())
}

impl Verb {
    /// What the first line of the progress says that is done.
    pub(crate) fn activity(&self) -> &'static str {
        match self {
            Self::Build(_) => "Building",
            Self::Status(_) => "Looking",
            Self::Plan(_) => "Planning",
            Self::Publish(_) => "Publishing",
            Self::Init => "Installing",
            Self::CleanUp(_) => "Cleaning up",
            Self::Sweep => "Sweeping",
            Self::Completions { .. } => "Completing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_build_of_the_project_or_a_directory() {
        let image = |text: &str| text.parse::<Image>().map(|image| (image.name, image.directory));
        assert_eq!(image("api"), Ok(("api".to_owned(), None)));
        assert_eq!(image("api=a=b"), Ok(("api".to_owned(), Some("a=b".into()))));
        image("=dir").unwrap_err();
        image("api=").unwrap_err();
        "=1".parse::<Assignment>().unwrap_err();
        assert_eq!("A=".parse::<Assignment>().unwrap().value, "");
    }

    #[test]
    fn durations_are_what_people_write() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        duration("-1s").unwrap_err();
        duration("soon").unwrap_err();
        at_least_one("0").unwrap_err();
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        parse("f build api web=dir --build-arg A=1").unwrap();
        parse("f build --all --json").unwrap();
        for wrong in
            ["f build", "f build api --all", "f --json --progress plain sweep", "f publish --all --to a"]
        {
            parse(wrong).expect_err(wrong);
        }
    }
}
