use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::{BuildSecret, NamedContext};

/// The longest argument, or entry of an environment, that Linux gives to a program, in bytes.
/// Source: `execve(2)`, `MAX_ARG_STRLEN`: 32 pages of 4096 bytes, the last byte of which is a zero.
pub const LONGEST_ARGUMENT: usize = 32 * 4096 - 1;

/// How long a build may take unless the request says otherwise, as in Garden.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1200);

/// What to build: a directory, its Dockerfile, and what goes into them.
///
/// Made by [`new`](Self::new) and the methods named like the fields. It is written as JSON, without its secrets, and on purpose not read from it: it
/// names directories and sockets of this machine, so a service has a type of its own for what clients may choose.
///
/// ```
/// use garden_build_core::BuildRequest;
///
/// let request = BuildRequest::new("api", "./services/api")
///     .target("production")
///     .build_arg("RELEASE", "2.1");
/// assert_eq!(request.target.as_deref(), Some("production"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct BuildRequest {
    /// The image's name, which becomes the last part of the repository in the deployment registry.
    pub name: String,
    /// The context directory.
    pub directory: PathBuf,
    /// What messages, events and errors call the context directory, such as `web/`. Not part of the version. Default: its path.
    pub shown_as: Option<String>,
    /// The Dockerfile, relative to the context directory. Default: `Dockerfile`. It need not be part
    /// of the context, so nothing below has to spare it.
    pub dockerfile: PathBuf,
    /// Which files of the directory are part of the context: patterns as in `.dockerignore`; one that
    /// names a directory stands for everything in it. What `.dockerignore` excludes stays excluded.
    /// Default: all files; with an empty list, none.
    pub include: Option<Vec<String>>,
    /// Which files are not part of the context, whatever else includes them: patterns as in
    /// `.dockerignore`, but without `!`. Default: none besides those of `.dockerignore`.
    pub exclude: Vec<String>,
    /// Globs that say which of these files are part of the context. Default: all.
    pub globs: FileGlobs,
    /// Ignore files in git's syntax; what they ignore is not part of the context. Default: none.
    pub ignore_files: Option<IgnoreFiles>,
    /// Whether files and directories keep their permissions, with set-user, set-group and sticky bits. Then they
    /// are part of the version, and so is the umask of whoever checked the files out. Default: no; files are
    /// 0755 if their owner may execute them and 0644 else, directories are 0755, as git would have it.
    pub preserve_permissions: bool,
    /// Take all these files into the context, and so into the version, even if no instruction of the
    /// Dockerfile reads them. Needed only where they are read in a way that it does not show. Default: no.
    pub whole_context: bool,
    /// The stage of a multi-stage Dockerfile to build. Default: the last one.
    pub target: Option<String>,
    /// The build arguments. Never put a secret here: build arguments are visible in the image's
    /// history and in the builder's pod.
    pub build_args: BTreeMap<String, String>,
    /// Flags for the builder, stronger than those of the provider configuration: with kaniko, the
    /// executor's; with `BuildKit` in any mode, `--opt name=value` for attributes of the Dockerfile frontend; with Docker,
    /// `--network`, `--shm-size` and `--pull`. Default: none.
    pub extra_flags: Vec<String>,
    /// The platforms to build for, such as `linux/arm64`. Default: that of the builder's node, which
    /// is not part of the version: name it where clusters of several architectures share a registry.
    pub platforms: Vec<String>,
    /// Labels of the image. Default: none besides the Dockerfile's.
    pub labels: BTreeMap<String, String>,
    /// Entries of `/etc/hosts` in RUN steps: host name and IP address. Default: none.
    pub extra_hosts: BTreeMap<String, String>,
    /// What names in `FROM` and `COPY --from` stand for, besides stages and images. Default: none.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Secrets for steps with `RUN --mount=type=secret`, by id. They are not part of the version:
    /// a build with another secret finds the same image. Default: none.
    pub secrets: BTreeMap<String, BuildSecret>,
    /// The sockets of SSH agents for steps with `RUN --mount=type=ssh`, by id; `default` is what a
    /// step without an id asks for. Not part of the version. Default: none.
    pub ssh_agents: BTreeMap<String, PathBuf>,
    /// Build even if the registry has the image, and replace it. Default: no.
    pub force: bool,
    /// Run every step, whatever the caches hold, and replace the image. Default: no.
    pub no_cache: bool,
    /// How long the whole build may take. Default: 20 minutes.
    pub timeout: Duration,
}

/// Which files of a directory count, said with globs, as Garden's project files do.
///
/// A glob is relative to the directory. `*` stands for any part of a name, `?` for one byte of it, `[…]` for one of several,
/// `**` for any number of directories, `{a,b}` for alternatives, and `\\` makes the next character literal; names with a
/// leading dot are like others. A glob without any of these stands for the file of that name, or for the directory with
/// everything in it; so does `.` for everything. A glob with a wildcard stands for the files that it matches, **not** for
/// what lies in a directory that it matches: `lib/*` does not match `lib/deep/a.js`, which `lib/**` does; and with a `/` at its
/// end it matches nothing. A `/**` at the end stands for all in a directory, and for a file in its place (`*.js/**` matches
/// `a.js`) unless a `*` stands before it.
///
/// Only files are asked about: a directory counts if a file in it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FileGlobs {
    /// Globs of the files that count. Default: all; with an empty list, none.
    pub include: Option<Vec<String>>,
    /// Globs of files that do not count, whatever includes them. Default: none.
    pub exclude: Vec<String>,
}

impl FileGlobs {
    /// Whether there are any, so that not all files count.
    pub fn is_any(&self) -> bool {
        self.include.is_some() || !self.exclude.is_empty()
    }
}

/// Files such as `.gardenignore`, with the syntax and meaning of `.gitignore`.
///
/// They are looked for in [`root`](Self::root), in every directory from there to the context
/// directory, and in every directory of the context. A deeper file wins over a higher one, and in one
/// directory a later name over an earlier one. As with git, nothing can be brought back that lies in an
/// ignored directory; of a context that lies in one, nothing is left. What git knows besides (its
/// index, `.git/info/exclude`, the user's own ignore file) has no influence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct IgnoreFiles {
    /// The names of the files, such as `.gardenignore`.
    pub names: Vec<String>,
    /// The highest directory with files that count, usually that of the project. If the context does
    /// not lie in it, only files in the context count.
    pub root: PathBuf,
}

impl IgnoreFiles {
    /// Lets the files called one of `names` count, in `root` and below.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>, root: impl Into<PathBuf>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), root: root.into() }
    }
}

impl BuildRequest {
    /// Requests the image `name` from the build context in `directory`.
    pub fn new(name: impl Into<String>, directory: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            directory: directory.into(),
            shown_as: None,
            dockerfile: PathBuf::from("Dockerfile"),
            include: None,
            exclude: Vec::new(),
            globs: FileGlobs::default(),
            ignore_files: None,
            preserve_permissions: false,
            whole_context: false,
            target: None,
            build_args: BTreeMap::new(),
            extra_flags: Vec::new(),
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            extra_hosts: BTreeMap::new(),
            contexts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh_agents: BTreeMap::new(),
            force: false,
            no_cache: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Calls the context directory `name` in messages, events and errors, such as `web/`: of use if it is a temporary one, whose
    /// path says nothing.
    #[must_use]
    pub fn shown_as(mut self, name: impl Into<String>) -> Self {
        self.shown_as = Some(name.into());
        self
    }

    /// Returns what to call the context directory in a message.
    pub fn shown_directory(&self) -> &Path {
        self.shown_as.as_deref().map_or(&self.directory, Path::new)
    }

    /// Uses the Dockerfile at `path`, relative to the context directory.
    #[must_use]
    pub fn dockerfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.dockerfile = path.into();
        self
    }

    /// Makes what `patterns` match part of the context, and nothing that no such pattern matches.
    #[must_use]
    pub fn include(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.include.get_or_insert_default().extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Leaves what `patterns` match out of the context.
    #[must_use]
    pub fn exclude(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.exclude.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Selects files by globs, in place of those set before.
    #[must_use]
    pub fn globs(mut self, globs: FileGlobs) -> Self {
        self.globs = globs;
        self
    }

    /// Leaves what ignore files in git's syntax ignore out of the context.
    #[must_use]
    pub fn ignore_files(mut self, files: IgnoreFiles) -> Self {
        self.ignore_files = Some(files);
        self
    }

    /// Keeps the permissions of files and directories as they are.
    #[must_use]
    pub fn preserve_permissions(mut self, preserve: bool) -> Self {
        self.preserve_permissions = preserve;
        self
    }

    /// Takes all files into the context, whatever the Dockerfile reads.
    #[must_use]
    pub fn whole_context(mut self, whole_context: bool) -> Self {
        self.whole_context = whole_context;
        self
    }

    /// Builds only up to the stage `target`.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Sets the build argument `name` (`ARG name`).
    #[must_use]
    pub fn build_arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.build_args.insert(name.into(), value.into());
        self
    }

    /// Adds a flag for the builder.
    #[must_use]
    pub fn extra_flag(mut self, flag: impl Into<String>) -> Self {
        self.extra_flags.push(flag.into());
        self
    }

    /// Adds a platform to build for.
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platforms.push(platform.into());
        self
    }

    /// Labels the image.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Lets RUN steps find `host` at the IP `address`.
    #[must_use]
    pub fn extra_host(mut self, host: impl Into<String>, address: impl Into<String>) -> Self {
        self.extra_hosts.insert(host.into(), address.into());
        self
    }

    /// Lets `FROM name` and `COPY --from=name` mean `context`.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>, context: NamedContext) -> Self {
        self.contexts.insert(name.into(), context);
        self
    }

    /// Gives the secret `id` to RUN steps that mount it.
    #[must_use]
    pub fn secret(mut self, id: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.secrets.insert(id.into(), BuildSecret::new(value));
        self
    }

    /// Forwards the SSH agent that listens on `socket` to RUN steps that mount it as `id`.
    #[must_use]
    pub fn ssh_agent(mut self, id: impl Into<String>, socket: impl Into<PathBuf>) -> Self {
        self.ssh_agents.insert(id.into(), socket.into());
        self
    }

    /// Builds even if the registry has the image.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Returns the names of the build arguments that no RUN can be given, as they would be too long an entry of its environment.
    pub fn oversized_build_args(&self) -> impl Iterator<Item = &str> {
        let length = |name: &str, value: &str| name.len() + "=".len() + value.len();
        let oversized =
            self.build_args.iter().filter(move |(name, value)| length(name, value) > LONGEST_ARGUMENT);
        oversized.map(|(name, _)| name.as_str())
    }

    /// Returns whether an image that exists is replaced, rather than taken for the one that is asked for: with
    /// [`force`](Self::force) and with [`no_cache`](Self::no_cache).
    pub fn replaces(&self) -> bool {
        self.force || self.no_cache
    }

    /// Runs every step, whatever the caches hold.
    #[must_use]
    pub fn no_cache(mut self, no_cache: bool) -> Self {
        self.no_cache = no_cache;
        self
    }

    /// Sets how long the whole build may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}
