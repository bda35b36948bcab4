//! What `${local.…}` and `${git.…}` stand for.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;

use crate::GitState;

/// What templates can learn of the machine and the user: `${local.…}` and `${git.…}`.
///
/// A project uses [`Locals::of_this_machine`] unless [`Project::with_locals`](crate::Project::with_locals)
/// says otherwise. A program that reads project files of people whom it does not trust
/// [confines](crate::Project::confined) them, which gives them [`Locals::none`], and adds what they may see, as a template
/// can put any environment variable into an image.
///
/// ```
/// use garden_config::{GitState, Locals};
///
/// let mut locals = Locals::none();
/// locals.env.insert("RELEASE".to_owned(), "1.0".to_owned());
/// locals.git = GitState::new("main", "2c8b0a6").into();
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Locals {
    /// The environment variables: `${local.env.NAME}`.
    pub env: BTreeMap<String, String>,
    /// The user's name: `${local.username}`, and in lower case `${local.usernameLowerCase}`.
    pub username: Option<String>,
    /// The operating system as Node.js names it: `linux`, `darwin`, `win32`. `${local.platform}`.
    pub platform: String,
    /// The processor as Node.js names it: `x64`, `arm64`. `${local.arch}`.
    pub arch: String,
    /// The repository: `${git.branch}`, `${git.commitHash}`.
    pub git: Git,
}

/// Where `${git.…}` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Git {
    /// From the repository that the project lies in, read when a template asks.
    OfProject,
    /// From the caller.
    State(GitState),
    /// There is none.
    None,
}

impl From<GitState> for Git {
    fn from(state: GitState) -> Self {
        Self::State(state)
    }
}

impl Locals {
    /// Tells all of this machine: every environment variable (but those that are not UTF-8), the user and
    /// the repository.
    pub fn of_this_machine() -> Self {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self {
            env: env::vars_os().filter_map(text).collect(),
            username: whoami::username().ok(),
            git: Git::OfProject,
            ..Self::none()
        }
    }

    /// Tells nothing but operating system and processor.
    pub fn none() -> Self {
        let platform = match env::consts::OS {
            "macos" => "darwin",
            "windows" => "win32",
            other => other,
        };
        let arch = match env::consts::ARCH {
            "x86_64" => "x64",
            "x86" => "ia32",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            env: BTreeMap::new(),
            username: None,
            platform: platform.to_owned(),
            arch: arch.to_owned(),
            git: Git::None,
        }
    }
}

/// Without the values of the environment variables, as some of them are secrets.
impl fmt::Debug for Locals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locals")
            .field("env", &self.env.keys())
            .field("username", &self.username)
            .field("platform", &self.platform)
            .field("arch", &self.arch)
            .field("git", &self.git)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Locals;

    #[test]
    fn shows_no_values_of_environment_variables() {
        let mut locals = Locals::none();
        locals.env.insert("TOKEN".to_owned(), "s3cret".to_owned());
        let shown = format!("{locals:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("s3cret"), "{shown}");
    }
}
