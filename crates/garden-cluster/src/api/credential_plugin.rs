//! What is said of a credential plugin, the program that a kubeconfig names for credentials, when it has none for us.
//!
//! kube's errors hold all that the program has written to its standard output, which is where a token is, and its command line
//! with its environment. Of these, nothing is repeated.

use std::error::Error as StdError;

use garden_build_core::{HintCode, Remedy};
use kube::Config;
use kube::client::AuthError;
use tower::BoxError;

use crate::api::ClusterError;

/// The longest complaint of a plugin that is shown, in characters.
const LONGEST: usize = 300;

/// A plugin without credentials for us.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the kubeconfig's credential plugin{} {problem}", quoted(.program.as_deref()))]
pub(crate) struct NoCredentials {
    /// The program, where it is known.
    pub(crate) program: Option<String>,
    pub(crate) problem: Problem,
}

/// Why it has none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// There is no such program.
    #[error("is not installed: there is no such program on the PATH of this one")]
    Missing,
    /// It could not be started.
    #[error("cannot be started: {0}")]
    NotStarted(String),
    /// It has ended without success. What it has written to its standard error, if that was kept.
    #[error("failed ({status}){}", said(.complaint))]
    Failed { status: String, complaint: String },
    /// What it has written is nothing that can be used.
    #[error("does not answer with an ExecCredential that has a status")]
    NotUnderstood,
}

impl NoCredentials {
    /// Finds out whether a plugin is behind `error`, which `program` is if that is known.
    pub(crate) fn behind(error: &(dyn StdError + 'static), program: Option<&str>) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(known) = error.downcast_ref::<Self>() {
                return Some(known.clone());
            }
            if let Some(problem) = error.downcast_ref::<AuthError>().and_then(Problem::of) {
                return Some(Self { program: program.map(str::to_owned), problem });
            }
            next = error.source();
        }
        None
    }

    /// Replaces `error` if a plugin is behind it, so that nobody can show what is in it.
    pub(crate) fn in_place_of(error: BoxError, program: Option<&str>) -> BoxError {
        match Self::behind(&*error, program) {
            Some(found) => found.into(),
            None => error,
        }
    }

    /// Returns the error, with a hint about what to do.
    pub(crate) fn report(&self) -> ClusterError {
        let hint = match self.problem {
            Problem::Missing => {
                "install it, or put its directory on the PATH; or use a kubeconfig with other credentials"
            }
            Problem::NotStarted(_) => "see that the file may be executed, and is made for this machine",
            Problem::Failed { .. } | Problem::NotUnderstood => {
                "run `kubectl get pods`, which uses it too, to see what it wants: most often another login"
            }
        };
        let hint = Remedy::new(hint).coded(HintCode::LogInToCluster);
        ClusterError::CredentialPlugin { reason: self.to_string(), hint }
    }
}

impl Problem {
    fn of(error: &AuthError) -> Option<Self> {
        match error {
            AuthError::AuthExecStart(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some(Self::Missing)
            }
            AuthError::AuthExecStart(error) => Some(Self::NotStarted(error.to_string())),
            AuthError::AuthExecRun { out, .. } => {
                let (status, complaint) = (out.status.to_string(), last_line(&out.stderr));
                Some(Self::Failed { status, complaint })
            }
            AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => Some(Self::NotUnderstood),
            _ => None,
        }
    }
}

/// Returns the program that `config` names, if it names one.
pub(crate) fn program(config: &Config) -> Option<String> {
    config.auth_info.exec.as_ref()?.command.clone()
}

fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|character| !character.is_control()).take(LONGEST).collect()
}

fn quoted(program: Option<&str>) -> String {
    program.map(|program| format!(" `{program}`")).unwrap_or_default()
}

fn said(complaint: &str) -> String {
    if complaint.is_empty() { String::new() } else { format!(": {complaint}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{ExitStatus, Output};

    use garden_build_core::{Error, with_causes};
    use garden_network::Proxies;
    use kube::config::{AuthInfo, ExecConfig};

    use super::*;
    use crate::api::http_client;

    const TOKEN: &str = "a-token-that-nobody-may-see";

    fn failed(stderr: &str) -> AuthError {
        let status = ExitStatus::from_raw(1 << 8);
        let out = Output { status, stdout: TOKEN.into(), stderr: stderr.into() };
        AuthError::AuthExecRun { cmd: format!("TOKEN={TOKEN:?} \"get-token\""), out: Box::new(out) }
    }

    /// All that a user may see of it.
    fn shown(error: ClusterError) -> String {
        let error = Error::from(error);
        format!("{error}\n{error:?}\n{}", with_causes(&error))
    }

    #[test]
    fn neither_its_output_nor_its_command_line_is_shown() {
        let service = |error: AuthError| kube::Error::Service(error.into());
        for error in [
            service(failed("")),
            kube::Error::Auth(failed("login expired")),
            // As a watch has it.
            kube::Error::Service(service(failed("")).into()),
            service(AuthError::ExecPluginFailed),
        ] {
            let shown = shown(ClusterError::of("list pods", error));
            assert!(shown.contains("credential plugin") && !shown.contains(TOKEN), "{shown}");
        }
    }

    #[test]
    fn one_that_fails_is_named_with_its_last_complaint() {
        let error =
            NoCredentials::in_place_of(failed("WARN old\nlogin expired\u{1b}\n\n").into(), Some("get-token"));
        assert_eq!(
            error.to_string(),
            "the kubeconfig's credential plugin `get-token` failed (exit status: 1): login expired"
        );
        let other: BoxError = "connection refused".into();
        assert_eq!(NoCredentials::in_place_of(other, Some("get-token")).to_string(), "connection refused");
    }

    #[test]
    fn one_that_is_missing_is_named() {
        let mut config = Config::new("https://cluster.example".parse().expect("a URL"));
        let exec = ExecConfig { command: Some("no-such-credential-plugin".to_owned()), ..exec_config() };
        config.auth_info = AuthInfo { exec: Some(exec), ..AuthInfo::default() };
        let error =
            http_client::client(config, Proxies::none()).map(drop).expect_err("there is no such program");
        let shown = shown(error);
        assert!(shown.contains("`no-such-credential-plugin` is not installed"), "{shown}");
    }

    /// kube asks it for a token, and then it is asked for the certificate.
    #[cfg(unix)]
    #[test]
    fn one_that_fails_when_it_is_asked_again_shows_nothing_of_its_output() {
        let answer =
            r#"{"kind":"ExecCredential","status":{"clientCertificateData":"c","clientKeyData":"k"}}"#;
        for second in ["exit 1", "exit 0"] {
            let directory = tempfile::TempDir::new().expect("a directory");
            let mark = directory.path().join("asked").display().to_string();
            let script =
                format!("test -e {mark} && {{ echo '{{{TOKEN}'; {second}; }}; touch {mark}; echo '{answer}'");
            let mut config = Config::new("https://cluster.example".parse().expect("a URL"));
            let mut exec = ExecConfig { command: Some("sh".to_owned()), ..exec_config() };
            exec.args = Some(vec!["-c".to_owned(), script]);
            config.auth_info = AuthInfo { exec: Some(exec), ..AuthInfo::default() };
            let error = http_client::client(config, Proxies::none()).map(drop).expect_err("no certificate");
            let shown = shown(error);
            assert!(shown.contains("credential plugin `sh`") && !shown.contains(TOKEN), "{shown}");
        }
    }

    fn exec_config() -> ExecConfig {
        let exec = serde_json::json!({ "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never" });
        serde_json::from_value(exec).expect("an exec section")
    }
}
