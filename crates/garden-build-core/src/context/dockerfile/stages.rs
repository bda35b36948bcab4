//! From instructions to stages: what of them decides which files are read, as `BuildKit` takes it
//! (`frontend/dockerfile/instructions` of v0.26).

use super::Doubt;
use super::lines::{Instruction, Script, is_heredoc, split_at_spaces};

/// A Dockerfile, as far as it decides which files are read.
#[derive(Debug)]
pub(super) struct Outline {
    /// The `ARG`s before the first `FROM`.
    pub(super) arguments: Vec<Argument>,
    pub(super) stages: Vec<Stage>,
    pub(super) escape: char,
}

/// What is between one `FROM` and the next.
#[derive(Debug)]
pub(super) struct Stage {
    /// What stands behind `FROM`, with variables.
    pub(super) base: String,
    /// In lower case.
    pub(super) name: Option<String>,
    pub(super) commands: Vec<Command>,
}

/// An instruction. Words are as they are written, with variables.
#[derive(Debug)]
pub(super) enum Command {
    Env(Vec<(String, String)>),
    Arg(Vec<Argument>),
    Copy {
        from: Option<String>,
        /// Without what is written in the Dockerfile itself or, with `ADD`, fetched by HTTP.
        sources: Vec<String>,
        /// Whether it is `ADD`, which also takes URLs.
        is_add: bool,
    },
    Mount(Mount),
    OnBuild,
}

/// `NAME`, or `NAME=default`.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) default: Option<String>,
}

/// A `--mount` of `RUN`.
#[derive(Debug, Default)]
pub(super) struct Mount {
    /// `None` if it is `bind`.
    pub(super) kind: Option<String>,
    pub(super) from: Option<String>,
    /// Empty for everything.
    pub(super) source: String,
}

impl Outline {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Doubt> {
        let Script { instructions, escape } = Script::parse(text)?;
        let mut arguments = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for instruction in instructions {
            match (instruction.keyword.as_str(), stages.last_mut()) {
                ("from", _) => stages.push(stage(&instruction)?),
                ("arg", None) => arguments.extend(self::arguments(&instruction, escape)?),
                (_, None) => return Err(Doubt::of("it does not begin with `FROM`")),
                (_, Some(stage)) => stage.commands.extend(commands(&instruction, escape)?),
            }
        }
        for (index, stage) in stages.iter().enumerate() {
            let Some(name) = &stage.name else { continue };
            if name == "scratch" || stages[..index].iter().any(|other| other.name.as_ref() == Some(name)) {
                return Err(Doubt::of(format!("more than one thing is called `{name}`")));
            }
        }
        Ok(Self { arguments, stages, escape })
    }
}

fn stage(instruction: &Instruction) -> Result<Stage, Doubt> {
    check_flags(instruction, &["platform"])?;
    let arguments = split_at_spaces(&instruction.rest, usize::MAX);
    let (base, name) = match arguments.as_slice() {
        [base] => (*base, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => (*base, Some(name.to_lowercase())),
        _ => return Err(Doubt::of("a `FROM` in it is malformed")),
    };
    let is_valid = |name: &String| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
    };
    if base.is_empty() || !name.as_ref().is_none_or(is_valid) {
        return Err(Doubt::of("a `FROM` in it is malformed"));
    }
    Ok(Stage { base: base.to_owned(), name, commands: Vec::new() })
}

fn commands(instruction: &Instruction, escape: char) -> Result<Vec<Command>, Doubt> {
    match instruction.keyword.as_str() {
        "env" => Ok(vec![Command::Env(variables(instruction, escape)?)]),
        "arg" => Ok(vec![Command::Arg(arguments(instruction, escape)?)]),
        "onbuild" => Ok(vec![Command::OnBuild]),
        "run" => mounts(instruction),
        "copy" => {
            let known = ["chown", "from", "chmod", "link", "exclude", "parents"];
            Ok(vec![copy(instruction, check_flags(instruction, &known)?)?])
        }
        "add" => {
            let known = ["chown", "chmod", "link", "keep-git-dir", "checksum", "unpack", "exclude"];
            Ok(vec![copy(instruction, check_flags(instruction, &known)?)?])
        }
        // The rest neither reads files nor sets variables, and may have whatever flags it likes.
        _ => Ok(Vec::new()),
    }
}

type Flag<'i> = (&'i str, Option<&'i str>);

/// Splits flags into name and value. One that is not known here might read files.
fn check_flags<'i>(instruction: &'i Instruction, known: &[&str]) -> Result<Vec<Flag<'i>>, Doubt> {
    let flags = instruction.flags.iter().map(|flag| match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag.as_str(), None),
    });
    let flags: Vec<Flag<'_>> = flags.map(|(name, value)| (name.trim_start_matches("--"), value)).collect();
    match flags.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(Doubt::of(format!("the flag `--{name}` is not known here"))),
        None => Ok(flags),
    }
}

fn copy(instruction: &Instruction, flags: Vec<Flag<'_>>) -> Result<Command, Doubt> {
    let mut from = flags.into_iter().filter(|(name, _)| *name == "from").map(|(_, value)| value);
    let from = match (from.next(), from.next()) {
        (None, _) | (Some(Some("")), None) => None,
        (Some(Some(from)), None) => Some(plain_source(from)?),
        _ => return Err(Doubt::of("a `--from` in it is malformed")),
    };
    let mut sources = instruction.arguments()?;
    if sources.pop().is_none() || (sources.is_empty()) {
        return Err(Doubt::of("a `COPY` or `ADD` in it has no destination"));
    }
    let mut paths = Vec::new();
    for source in sources {
        if !is_heredoc(&source)? {
            paths.push(source);
        }
    }
    Ok(Command::Copy { from, sources: paths, is_add: instruction.keyword == "add" })
}

/// Checks that what another stage or image is called by is a plain word, as `BuildKit` demands.
fn plain_source(from: &str) -> Result<String, Doubt> {
    if from.contains(['$', '"', '\'', '\\', '`', '<']) {
        return Err(Doubt::of(format!("`{from}` in it is no plain name")));
    }
    Ok(from.to_owned())
}

fn mounts(instruction: &Instruction) -> Result<Vec<Command>, Doubt> {
    let flags = check_flags(instruction, &["mount", "network", "security", "device"])?;
    let mounts = flags.into_iter().filter(|(name, _)| *name == "mount");
    mounts.map(|(_, value)| mount(value.unwrap_or_default()).map(Command::Mount)).collect()
}

fn mount(text: &str) -> Result<Mount, Doubt> {
    if text.contains('"') {
        return Err(Doubt::of("a `--mount` in it is quoted"));
    }
    let mut mount = Mount::default();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key.to_ascii_lowercase().as_str() {
            "type" => mount.kind = Some(value.to_owned()),
            "from" => mount.from = if value.is_empty() { None } else { Some(plain_source(value)?) },
            "source" | "src" => value.clone_into(&mut mount.source),
            "target" | "dst" | "destination" | "readonly" | "ro" | "readwrite" | "rw" | "required"
            | "size" | "id" | "sharing" | "mode" | "uid" | "gid" | "env" => {}
            _ => return Err(Doubt::of(format!("the mount option `{key}` is not known here"))),
        }
    }
    Ok(mount)
}

fn arguments(instruction: &Instruction, escape: char) -> Result<Vec<Argument>, Doubt> {
    let words = instruction.words(escape);
    if words.is_empty() {
        return Err(Doubt::of("an `ARG` in it has no name"));
    }
    let argument = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(Doubt::of("an `ARG` in it has no name")),
        Some((name, default)) => Ok(Argument { name: name.to_owned(), default: Some(default.to_owned()) }),
        None => Ok(Argument { name: word, default: None }),
    };
    words.into_iter().map(argument).collect()
}

fn variables(instruction: &Instruction, escape: char) -> Result<Vec<(String, String)>, Doubt> {
    let malformed = || Doubt::of("an `ENV` in it is malformed");
    let words = instruction.words(escape);
    let first = words.first().ok_or_else(malformed)?;
    if !first.contains('=') {
        return match split_at_spaces(&instruction.rest, 2).as_slice() {
            [name, value] => Ok(vec![((*name).to_owned(), (*value).to_owned())]),
            _ => Err(malformed()),
        };
    }
    let variable = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(malformed()),
    };
    words.iter().map(variable).collect()
}
