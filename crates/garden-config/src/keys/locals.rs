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
    /// The user's name: `${local.username}`, and in lower case `${local.usernameLowerCase}`. On this machine it is found as
    /// Garden finds it, since many projects make their namespace of it: the first that is not empty of the environment
    /// variables `SUDO_USER`, `C9_USER`, `LOGNAME`, `USER`, `LNAME` and `USERNAME`, else the name of the account that the
    /// program runs as, else `no-username-` and the account's number.
    pub username: Option<String>,
    /// The operating system as Node.js names it: `linux`, `darwin`, `win32`. `${local.platform}`.
    pub platform: String,
    /// The processor as Node.js names it: `x64`, `arm64`. `${local.arch}`.
    pub arch: String,
    /// The repository: `${git.branch}`, `${git.commitHash}`, `${git.originUrl}`.
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
    /// Shows all of this machine to templates: every environment variable (but those that are not UTF-8), the user and
    /// the repository.
    pub fn of_this_machine() -> Self {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let env: BTreeMap<String, String> = env::vars_os().filter_map(text).collect();
        Self {
            username: username(&env, || whoami::username().ok()),
            env,
            git: Git::OfProject,
            ..Self::none()
        }
    }

    /// Shows nothing but operating system and processor.
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

/// What the package `username` says, which all Gardens use (5.1 with 0.12, 7.0 since).
fn username(env: &BTreeMap<String, String>, account: impl FnOnce() -> Option<String>) -> Option<String> {
    const VARIABLES: [&str; 6] = ["SUDO_USER", "C9_USER", "LOGNAME", "USER", "LNAME", "USERNAME"];
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let unnamed = || account_number().map(|number| format!("no-username-{number}"));
    VARIABLES.into_iter().find_map(set).or_else(account).or_else(unnamed)
}

/// The number of the account that the program runs as.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have none")]
fn account_number() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

#[cfg(not(unix))]
fn account_number() -> Option<u32> {
    None
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
    use super::{Locals, username};

    /// The order of `getEnvironmentVariable` in the package.
    #[test]
    fn finds_the_username_as_garden_does() {
        let found = |variables: &[(&str, &str)], account: Option<&str>| {
            let env =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            username(&env, || account.map(str::to_owned))
        };
        let ordered = ["SUDO_USER", "C9_USER", "LOGNAME", "USER", "LNAME", "USERNAME"];
        for first in 0..ordered.len() {
            let set: Vec<(&str, &str)> = ordered[first..].iter().map(|name| (*name, *name)).collect();
            assert_eq!(found(&set, Some("account")).as_deref(), Some(ordered[first]));
        }
        assert_eq!(found(&[("SUDO_USER", ""), ("USER", "ada")], Some("account")).as_deref(), Some("ada"));
        assert_eq!(found(&[("user", "ada")], Some("account")).as_deref(), Some("account"));
        #[cfg(unix)]
        assert!(found(&[], None).is_some_and(|name| name.starts_with("no-username-")));
    }

    #[test]
    fn shows_no_values_of_environment_variables() {
        let mut locals = Locals::none();
        locals.env.insert("TOKEN".to_owned(), "s3cret".to_owned());
        let shown = format!("{locals:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("s3cret"), "{shown}");
    }
}
