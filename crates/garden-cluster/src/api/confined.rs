//! What a confined project's connection to the cluster must not do: run programs, and read files of the project's choice.

use garden_config::ProviderConfig;
use kube::config::{AuthInfo, Kubeconfig};

/// Checks that whoever connects with `credentials` runs no program.
pub(crate) fn runs_nothing(credentials: &AuthInfo) -> Result<(), String> {
    let program = credentials.exec.as_ref().map(|exec| exec.command.as_deref().unwrap_or_default());
    let program = program.or(credentials.auth_provider.as_ref().map(|provider| provider.name.as_str()));
    match program {
        Some(program) => Err(format!(
            "it names the credential plugin `{}`, which does not run for a confined project; connect yourself, and hand \
             over the client, or read the project unconfined",
            program.escape_debug()
        )),
        None => Ok(()),
    }
}

/// Checks that the kubeconfig of a project names neither programs nor other files, whichever of its contexts is used.
pub(crate) fn names_nothing(kubeconfig: &Kubeconfig) -> Result<(), String> {
    for credentials in kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref()) {
        runs_nothing(credentials)?;
        let AuthInfo { token_file, client_certificate, client_key, .. } = credentials;
        no_file(&[token_file, client_certificate, client_key])?;
    }
    for cluster in kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref()) {
        no_file(&[&cluster.certificate_authority])?;
    }
    Ok(())
}

fn no_file(named: &[&Option<String>]) -> Result<(), String> {
    match named.iter().find_map(|file| file.as_deref()) {
        Some(file) => Err(format!(
            "it names the file `{}`, which is not read for a confined project; put its content into the kubeconfig \
             (`kubectl config view --flatten`)",
            file.escape_debug()
        )),
        None => Ok(()),
    }
}

/// Reads the kubeconfig that `provider` names.
pub(crate) fn read_kubeconfig(
    path: &std::path::Path,
    provider: &ProviderConfig,
) -> Result<Kubeconfig, String> {
    use std::io::ErrorKind::{FileTooLarge, InvalidInput};
    // The file may be one of a repository, and kube would read what has no end. All other mistakes kube tells itself.
    match garden_build_core::read_regular_file(path, LARGEST_KUBECONFIG) {
        Err(error) if matches!(error.kind(), InvalidInput | FileTooLarge) => {
            return Err(format!("`{}` cannot be read: {error}", path.display()));
        }
        _ => {}
    }
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| garden_build_core::with_causes(&error))?;
    if provider.confined {
        names_nothing(&kubeconfig)?;
    }
    Ok(kubeconfig)
}

/// The most that a kubeconfig may have, in bytes.
const LARGEST_KUBECONFIG: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::connect::connect;

    /// Connects as a project would whose kubeconfig has these credentials, and says what was refused.
    async fn refusal(user: Value, cluster: Value, confined: bool) -> Option<String> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("kubeconfig");
        let mut server = json!({ "server": "https://api.example:6443" });
        server.as_object_mut().expect("a mapping").extend(cluster.as_object().expect("a mapping").clone());
        let kubeconfig = json!({
            "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": server }],
            "users": [{ "name": "u", "user": user }],
        });
        fs::write(&path, kubeconfig.to_string()).expect("written");
        let mut provider = ProviderConfig::kubernetes("shop");
        provider.kubeconfig = Some(path);
        provider.confined = confined;
        connect(&provider).await.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_confined_project_s_kubeconfig_runs_nothing_and_reads_nothing() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let ran = directory.path().join("ran");
        let exec = json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "touch",
            "args": [ran],
            "interactiveMode": "Never",
        } });
        let nothing = json!({});
        for (user, cluster, said) in [
            (exec.clone(), nothing.clone(), "credential plugin `touch`"),
            (json!({ "auth-provider": { "name": "gcp", "config": {} } }), nothing.clone(), "plugin `gcp`"),
            (
                json!({ "tokenFile": "/home/somebody/.token" }),
                nothing.clone(),
                "file `/home/somebody/.token`",
            ),
            (json!({ "client-certificate": "c", "client-key": "k" }), nothing.clone(), "/c`"),
            (nothing.clone(), json!({ "certificate-authority": "/etc/passwd" }), "file `/etc/passwd`"),
        ] {
            let refused = refusal(user, cluster, true).await.expect(said);
            assert!(refused.contains(said), "{refused}");
        }
        assert!(!ran.exists());
        assert_eq!(refusal(json!({ "token": "t" }), nothing.clone(), true).await, None);
        // It would run otherwise.
        refusal(exec, nothing, false).await;
        assert!(ran.exists());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_kubeconfig_without_an_end_is_not_read() {
        let mut provider = ProviderConfig::kubernetes("shop");
        provider.kubeconfig = Some("/dev/zero".into());
        let error = connect(&provider).await.err().expect("no file").to_string();
        assert!(error.contains("`/dev/zero` cannot be read: it is not a file"), "{error}");
    }
}
