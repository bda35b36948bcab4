//! Scaling to zero what nobody uses.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::record;
use crate::api::{Cluster, ClusterError, name_of};
use crate::ownership::{MANAGED_BY_LABEL, MANAGER};

/// How often an unused Deployment is looked at that changes meanwhile.
const LOOKS: usize = 3;

/// Scales the Deployments of ours in `namespace` to zero that nobody has used for as long as they are kept, and returns them, such as
/// `Deployment my-project/garden-buildkit`. It is `now`, by the API server's clock. Those that a build begins to use meanwhile stay. What
/// the user may not list or change is left alone.
///
/// # Errors
/// If the API server cannot be reached, or fails. Others are scaled all the same.
pub async fn stop_idle_in(
    cluster: &Cluster,
    namespace: &str,
    now: Timestamp,
) -> Result<Vec<String>, ClusterError> {
    let listed = cluster.list(namespace, &ours()).await;
    stop(cluster, &allowed(listed)?, now).await
}

/// Stops what nobody uses in all namespaces, looking at a thousand Deployments at most. If the user may not list those of all namespaces, only
/// `namespace` counts.
///
/// # Errors
/// Those of [`stop_idle_in`].
pub async fn stop_idle(cluster: &Cluster, namespace: &str) -> Result<Vec<String>, ClusterError> {
    let ours = ours();
    let (listed, now) = tokio::join!(cluster.list_within_reach(namespace, &ours), cluster.server_time());
    let deployments = allowed(listed.map(|(_, deployments)| deployments))?;
    stop(cluster, &deployments, now?).await
}

fn ours() -> String {
    format!("{MANAGED_BY_LABEL}={MANAGER}")
}

fn allowed(listed: Result<Vec<Deployment>, ClusterError>) -> Result<Vec<Deployment>, ClusterError> {
    match listed {
        Err(error) if error.code() == Some(403) => Ok(Vec::new()),
        listed => listed,
    }
}

async fn stop(
    cluster: &Cluster,
    deployments: &[Deployment],
    now: Timestamp,
) -> Result<Vec<String>, ClusterError> {
    let (mut stopped, mut failures) = (Vec::new(), Vec::new());
    for live in deployments {
        match stop_one(cluster, live, now).await {
            Ok(true) => stopped.push(name_of(live)),
            Ok(false) => {}
            // 409: it changes all the time. 404: it is gone. 403: others may do this.
            Err(error) if matches!(error.code(), Some(403 | 404 | 409)) => {
                tracing::debug!(%error, "an unused Deployment is left as it is");
            }
            Err(error) => failures.push(error),
        }
    }
    ClusterError::all(failures).map_or(Ok(stopped), Err)
}

/// Scales a Deployment to zero if it is unused; says whether it was. If it has changed since it was looked at, it is looked at again: Kubernetes
/// itself writes its status.
async fn stop_one(cluster: &Cluster, live: &Deployment, now: Timestamp) -> Result<bool, ClusterError> {
    let (namespace, name) = (live.metadata.namespace.as_deref().unwrap_or_default(), live.name_any());
    let mut live = Some(live.clone()).filter(|live| record::is_unused(live, now));
    let mut looks = 1;
    while let Some(seen) = live {
        match cluster.merge::<Deployment>(namespace, &name, &record::stopped(&seen)).await {
            Err(error) if error.code() == Some(409) && looks < LOOKS => {
                looks += 1;
                let again = cluster.get::<Deployment>(namespace, &name).await?;
                live = again.filter(|again| record::is_unused(again, now));
            }
            outcome => return outcome.map(|_| true),
        }
    }
    Ok(false)
}
