//! What credential helpers say, wherever they run.
//!
//! Source: docker/docker-credential-helpers, `credentials/credentials.go` and `client/client.go`.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::login::Login;

/// What a helper says of a server that it knows nothing about.
/// Source: docker/docker-credential-helpers, `credentials/error.go`.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The user name that marks the secret as an identity token.
/// Source: docker/cli, `config/credentials/native_store.go`.
const TOKEN_USER: &str = "<token>";

/// No name of a helper is nearly that long.
const LONGEST_NAME: usize = 64;

/// More than any useful explanation has.
const LONGEST_COMPLAINT: usize = 300;

/// The name of a credential helper, such as `ecr-login`. Its program is `docker-credential-ecr-login`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HelperName(String);

impl HelperName {
    /// Reads a name; `None` if it could lead to another program than a credential helper.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(is_plain);
        is_name.then(|| Self(text.to_owned()))
    }

    /// Returns the name without `docker-credential-`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the program.
    pub fn program(&self) -> String {
        format!("docker-credential-{}", self.0)
    }
}

impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a credential helper has no login for a server.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HelperProblem {
    /// It was not asked.
    NotAsked,
    /// It may not be asked: see [`AllowedHelpers`](crate::AllowedHelpers).
    NotAllowed,
    /// There is no such program.
    NotInstalled,
    /// It knows nothing about the server.
    NoLogin,
    /// It could not be run, or failed.
    Failed {
        /// What is known about it. Never has what may be a credential.
        reason: String,
    },
}

impl fmt::Display for HelperProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("was not asked"),
            Self::NotAllowed => f.write_str("is not run here, as that is not allowed for this registry"),
            Self::NotInstalled => f.write_str("is not installed here"),
            Self::NoLogin => f.write_str("has no login for it"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}

/// What a helper wrote, and how it ended.
#[derive(Clone, Copy)]
pub struct HelperOutput<'a> {
    /// Whether it ended without an error.
    pub succeeded: bool,
    /// Its standard output: the credential, or what is wrong.
    pub stdout: &'a [u8],
    /// Its standard error stream.
    pub stderr: &'a [u8],
}

impl fmt::Debug for HelperOutput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelperOutput").field("succeeded", &self.succeeded).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: SecretString,
}

impl HelperOutput<'_> {
    /// Reads the login that the helper was asked to `get`.
    ///
    /// # Errors
    /// Why there is none. What the helper wrote is quoted only where no credential can be in it.
    pub fn login(&self) -> Result<Login, HelperProblem> {
        let answer = serde_json::from_slice::<Answer>(self.stdout);
        match answer {
            Ok(Answer { secret, .. }) if self.succeeded && secret.expose_secret().is_empty() => {
                Err(HelperProblem::NoLogin)
            }
            Ok(Answer { username, secret }) if self.succeeded => Ok(if username == TOKEN_USER {
                Login::IdentityToken { username: None, token: secret }
            } else {
                Login::Password { username, password: secret }
            }),
            Err(_) if self.succeeded => Err(failed("it did not answer with `Username` and `Secret` in JSON")),
            _ if self.stdout.trim_ascii() == NOT_FOUND.as_bytes() => Err(HelperProblem::NoLogin),
            answer => {
                let secret = answer.ok().map(|answer| answer.secret);
                Err(failed(&self.complaint(secret.as_ref())))
            }
        }
    }

    /// Explains why the helper failed, in its own words. They stand on its standard output, where otherwise
    /// the credential is; what looks like the beginning of one is not quoted, nor anything beside it.
    fn complaint(&self, secret: Option<&SecretString>) -> String {
        let stdout = String::from_utf8_lossy(self.stdout);
        let stderr = String::from_utf8_lossy(self.stderr);
        let has_answer = stdout.contains(['{', '"']);
        let words = if secret.is_some() || stdout.trim().is_empty() { stderr } else { stdout };
        let shown = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = shown.chars().filter(|character| !character.is_control()).collect();
        let may_be_quoted = match secret.map(ExposeSecret::expose_secret) {
            // As it would be shown: what is taken out may have stood in the middle of the secret.
            Some(secret) => secret.is_empty() || ![&*words, &*shown].iter().any(|text| text.contains(secret)),
            None => !has_answer,
        };
        if !may_be_quoted || shown.is_empty() {
            return "it does not say why".to_owned();
        }
        shown.chars().take(LONGEST_COMPLAINT).collect()
    }
}

pub(crate) fn failed(reason: &str) -> HelperProblem {
    HelperProblem::Failed { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(succeeded: bool, stdout: &str, stderr: &str) -> String {
        let output = HelperOutput { succeeded, stdout: stdout.as_bytes(), stderr: stderr.as_bytes() };
        match output.login() {
            Ok(Login::Password { username, password }) => format!("{username}/{}", password.expose_secret()),
            Ok(Login::IdentityToken { token, .. }) => format!(">{}", token.expose_secret()),
            Ok(other) => panic!("{other:?}"),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn reads_what_helpers_answer() {
        for (succeeded, stdout, stderr, expected) in [
            (true, r#"{"ServerURL":"r.example","Username":"user","Secret":"s3cret"}"#, "", "user/s3cret"),
            (true, "{\"Username\":\"user\",\"Secret\":\"a\\nb\"}\n", "a remark", "user/a\nb"),
            (true, r#"{"ServerURL":"r.example","Username":"<token>","Secret":"s3cret"}"#, "", ">s3cret"),
            (true, r#"{"Username":"","Secret":""}"#, "", "has no login for it"),
            (false, "credentials not found in native keychain\n", "", "has no login for it"),
            (false, "no such \u{1b}[31mprofile\n", "", "failed: no such [31mprofile"),
            (false, "", "cannot\nconnect", "failed: cannot connect"),
            (false, "", "", "failed: it does not say why"),
            (true, "", "", "failed: it did not answer with `Username` and `Secret` in JSON"),
        ] {
            assert_eq!(read(succeeded, stdout, stderr), expected, "{stdout} {stderr}");
        }
    }

    #[test]
    fn shows_nothing_that_may_be_a_secret() {
        let answer = r#"{"Username":"user","Secret":"s3cret"}"#;
        for (succeeded, stdout, stderr) in [
            (true, r#"{"Username":"user","Secret":["s3cret"]}"#, "s3cret"),
            (true, "user s3cret", "s3cret"),
            (false, answer, "got s3cret, but cannot"),
            (false, answer, "got s3\u{7}cret, but cannot"),
            (false, &answer[..35], "got s3cret, but cannot"),
            (false, "\"s3cret\"", ""),
        ] {
            let shown = read(succeeded, stdout, stderr);
            assert!(shown.starts_with("failed: it ") && !shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(read(false, answer, "the token has ended"), "failed: the token has ended");
        assert!(read(false, &"x".repeat(10_000), "").len() < 400);
    }

    #[test]
    fn a_name_leads_to_no_other_program() {
        for name in ["ecr-login", "gcr", "acr-env", "osxkeychain", "pass_2.0"] {
            assert_eq!(HelperName::parse(name).expect(name).program(), format!("docker-credential-{name}"));
        }
        let long = "a".repeat(65);
        for text in ["", "../x", "a/b", "a\\b", "a b", "a;b", "a\0b", "ä", long.as_str()] {
            assert_eq!(HelperName::parse(text), None, "{text}");
        }
    }
}
