//! A client certificate from a credential plugin. Plugins that have tokens are run by kube, which shows nobody the certificate of one that has that.
//!
//! Source: `client.authentication.k8s.io/v1`, in Kubernetes' documentation of client-go credential plugins.

use std::process::{Command, Stdio};

use kube::client::AuthError;
use kube::config::{ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;

/// What is read of the answer, an `ExecCredential`.
#[derive(Deserialize)]
struct Answer {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs the program, and returns certificate and key, as PEM, if it has these.
///
/// # Errors
/// As kube has them: if the program does not run, fails, or does not answer with credentials.
pub(super) fn certificate(plugin: &ExecConfig) -> Result<Option<(String, String)>, AuthError> {
    let mut command = Command::new(plugin.command.as_ref().ok_or(AuthError::MissingCommand)?);
    command.args(plugin.args.iter().flatten());
    for variable in plugin.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    // It may ask the user something, who is at our own terminal.
    let asks = plugin.interactive_mode != Some(ExecInteractiveMode::Never);
    command.stdin(if asks { Stdio::inherit() } else { Stdio::null() });
    command.stderr(if asks { Stdio::inherit() } else { Stdio::piped() });
    command.env("KUBERNETES_EXEC_INFO", question(plugin, asks)?.to_string());
    command.stdout(Stdio::piped());
    let out = command.spawn().and_then(std::process::Child::wait_with_output);
    let out = out.map_err(AuthError::AuthExecStart)?;
    if !out.status.success() {
        // Its command line and environment may have secrets.
        return Err(AuthError::AuthExecRun { cmd: String::new(), out: Box::new(out) });
    }
    // Plugins may answer with YAML, which JSON is as well.
    let answer: Answer =
        serde_saphyr::from_slice(&out.stdout).map_err(|error| AuthError::AuthExecParse(Box::new(error)))?;
    let status = answer.status.ok_or(AuthError::ExecPluginFailed)?;
    Ok(status.client_certificate_data.zip(status.client_key_data))
}

/// Returns the question to the program: whether it may ask the user, and about the cluster if it wants to know that.
fn question(plugin: &ExecConfig, asks: bool) -> Result<serde_json::Value, AuthError> {
    let mut spec = json!({ "interactive": asks });
    if plugin.provide_cluster_info {
        let cluster = plugin.cluster.as_ref().ok_or(AuthError::ExecMissingClusterInfo)?;
        spec["cluster"] = serde_json::to_value(cluster).map_err(AuthError::AuthExecSerialize)?;
    }
    Ok(json!({ "kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec }))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn plugin(script: &str, mode: &str) -> ExecConfig {
        let plugin = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", script],
            "env": [{ "name": "SAID", "value": "certificate" }],
            "interactiveMode": mode,
        });
        serde_json::from_value(plugin).expect("an exec section")
    }

    #[test]
    fn its_answer_is_json_or_yaml_and_it_hears_who_asks() {
        let both = Some(("certificate".to_owned(), "client.authentication.k8s.io/v1 false".to_owned()));
        let heard = r#"heard=$(echo "$KUBERNETES_EXEC_INFO" | sed 's/.*"apiVersion":"\([^"]*\)".*"interactive":\([a-z]*\).*/\1 \2/'); "#;
        for answer in [
            r#"echo "{\"status\":{\"clientCertificateData\":\"$SAID\",\"clientKeyData\":\"$heard\"}}""#,
            r#"printf "status:\n  clientCertificateData: $SAID\n  clientKeyData: $heard\n""#,
        ] {
            let plugin = plugin(&format!("{heard}{answer}"), "Never");
            assert_eq!(certificate(&plugin).expect("credentials"), both, "{answer}");
        }
        let token = plugin("echo '{\"status\":{\"token\":\"t\"}}'", "Never");
        assert_eq!(certificate(&token).expect("credentials"), None);
    }

    #[test]
    fn one_that_fails_or_says_nothing_is_told_as_kube_tells_it() {
        let failure = |script: &str| certificate(&plugin(script, "Never")).expect_err(script);
        let AuthError::AuthExecRun { out, .. } = failure("echo expired >&2; exit 3") else {
            panic!("not run")
        };
        assert_eq!((out.status.code(), &*out.stderr), (Some(3), &b"expired\n"[..]));
        assert!(matches!(failure("echo '{}'"), AuthError::ExecPluginFailed));
        assert!(matches!(failure("echo '{'"), AuthError::AuthExecParse(_)));
    }
}
