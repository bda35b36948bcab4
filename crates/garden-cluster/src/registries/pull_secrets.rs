//! Reads the Secrets that hold the credentials of registries.

use futures::future::try_join_all;
use garden_config::SecretRef;
use garden_registry::Credentials;
use k8s_openapi::api::core::v1::Secret;

use crate::api::{Cluster, ClusterError};

/// Data keys of the two kinds of registry secret.
/// Source: Kubernetes, "Secrets", section "Docker config Secrets".
pub(super) const DOCKER_CONFIG_JSON: &str = ".dockerconfigjson";
const LEGACY_DOCKERCFG: &str = ".dockercfg";

/// A Secret with registry credentials, as it was read. Nothing of it is ever shown but its name.
pub(super) struct PullSecret {
    pub(super) reference: SecretRef,
    pub(super) credentials: Credentials,
    /// What the cluster has.
    pub(super) object: Secret,
}

/// Reads `secrets`, which the option `field` names.
///
/// # Errors
/// If a secret does not exist, may not be read, or holds no registry credentials; the message names
/// the secret, never its content.
pub(super) async fn read_pull_secrets(
    cluster: &Cluster,
    field: &str,
    secrets: &[SecretRef],
) -> Result<Vec<PullSecret>, ClusterError> {
    try_join_all(secrets.iter().map(|secret| read_one(cluster, field, secret))).await
}

/// Merges the credentials of `secrets`; of two for the same registry, the later one wins.
pub(super) fn merged(secrets: &[PullSecret]) -> Credentials {
    let mut merged = Credentials::default();
    for secret in secrets {
        merged.merge(secret.credentials.clone());
    }
    merged
}

async fn read_one(cluster: &Cluster, field: &str, reference: &SecretRef) -> Result<PullSecret, ClusterError> {
    let SecretRef { name, namespace, .. } = reference;
    let unusable = |reason: String| ClusterError::PullSecret { field: field.to_owned(), reason };
    let object = existing(cluster, field, reference).await?;
    let entry = |key: &str| object.data.as_ref().and_then(|data| data.get(key));
    let origin = format!("Secret {namespace}/{name}");
    let credentials = if let Some(json) = entry(DOCKER_CONFIG_JSON) {
        Credentials::from_docker_config_json(&json.0, &origin)
    } else if let Some(json) = entry(LEGACY_DOCKERCFG) {
        Credentials::from_legacy_dockercfg(&json.0, &origin)
    } else {
        return Err(unusable(format!(
            "{origin} holds no registry credentials: it needs the key `{DOCKER_CONFIG_JSON}` or `{LEGACY_DOCKERCFG}`, \
             as `kubectl create secret docker-registry` makes it"
        )));
    };
    let credentials = credentials.map_err(|error| unusable(error.to_string()))?;
    Ok(PullSecret { reference: reference.clone(), credentials, object })
}

/// Reads a Secret that has to exist, as the option `field` names it.
pub(crate) async fn existing(
    cluster: &Cluster,
    field: &str,
    reference: &SecretRef,
) -> Result<Secret, ClusterError> {
    let SecretRef { name, namespace, .. } = reference;
    cluster.get::<Secret>(namespace, name).await?.ok_or_else(|| {
        let reason = format!(
            "Secret {namespace}/{name} does not exist; create it with \
             `kubectl --namespace {namespace} create secret docker-registry {name} …`"
        );
        ClusterError::PullSecret { field: field.to_owned(), reason }
    })
}
