//! Having nodes pull an image from the registry, which is what it is for.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use garden_build_core::{BuildControl, Digest, ErrorKind, ImageReference, ReferenceError, Remedy};
use garden_config::ProviderConfig;
use garden_registry::{Descriptor, Manifest, RegistryClient, RegistryError, Sent};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::spec::as_ordinary_user;
use super::{InClusterRegistry, judge};
use crate::api::{ClusterError, Watch, Watched};
use crate::diagnosis::{Diagnosis, Remedies};
use crate::leftovers::sweep;
use crate::ownership::{Ownership, build_id};

/// How many nodes of a large cluster are checked, and how many of them at the same time.
const NODES: usize = 20;
const AT_ONCE: usize = 5;

/// How long a node may take in all, and how long its pull may fail: it tries again after ten seconds.
const PATIENCE: Duration = Duration::from_secs(90);
const PULL_GRACE: Duration = Duration::from_secs(25);

/// The lease of a pod whose client dies.
const LEASE_MINUTES: i64 = 5;

const REPOSITORY: &str = "garden-build/check";
const CONTAINER: &str = "check";

/// An image with one layer, an empty tar archive: nothing in it can run.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

/// What a check of the nodes came to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct CheckedNodes {
    /// The nodes that were asked, and could pull.
    pub nodes: Vec<String>,
    /// The pods that may be left, as the API server did not answer when the check was cancelled. They go with the next check.
    pub left: Vec<String>,
}

/// The same of one node.
#[derive(Debug)]
struct Checked {
    node: String,
    left: Option<String>,
}

impl InClusterRegistry {
    /// Checks that nodes can pull from the registry under its name [`ProviderConfig::IN_CLUSTER_REGISTRY`], and returns
    /// the names of the nodes that did. Of a large cluster, twenty are asked.
    ///
    /// Pushes a tiny image of a few hundred bytes and makes a pod of it on each node. There is no program in it, so the
    /// pod cannot run; but to find that out, the node has to pull the image, and that is what is waited for. Removes the
    /// pods, even when `cx` is cancelled; then it returns the nodes of which nothing bad is known, within seconds even if the API server does not
    /// answer. The image has no tag, and goes with a later clean-up.
    ///
    /// # Errors
    /// If the image cannot be pushed, or a node cannot pull it; the message names the node and what it says.
    pub async fn check_nodes(&self, cx: &BuildControl) -> Result<CheckedNodes, ClusterError> {
        let Some(prepared) = cx.cancel.run_until_cancelled(Box::pin(self.prepare_check())).await else {
            return Ok(CheckedNodes::default());
        };
        let (nodes, image) = prepared?;
        let pulls: Vec<_> = nodes.into_iter().map(|node| self.check_node(node, image, cx)).collect();
        let outcomes: Vec<_> = stream::iter(pulls).buffered(AT_ONCE).collect().await;
        let mut all = CheckedNodes::default();
        for outcome in outcomes {
            let Checked { node, left } = outcome?;
            all.nodes.push(node);
            all.left.extend(left);
        }
        Ok(all)
    }

    /// Finds out which nodes to ask, and pushes the image for them.
    async fn prepare_check(&self) -> Result<(Vec<String>, Digest), ClusterError> {
        // Pods of a check whose client has died.
        sweep(&self.cluster, self.namespace()).await?;
        let proxies = self.proxies().await?;
        let ready = proxies.iter().filter(|pod| judge::is_ready(pod));
        let nodes = ready.filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).take(NODES).collect();
        let client = self.client().await?;
        let pushed = push(&client, &self.host(), &build_id()).await;
        Ok((nodes, pushed.map_err(|error| self.unpushable(&error))?))
    }

    async fn check_node(
        &self,
        node: String,
        image: Digest,
        cx: &BuildControl,
    ) -> Result<Checked, ClusterError> {
        if cx.cancel.is_cancelled() {
            return Ok(Checked { node, left: None });
        }
        let lease_expires = Timestamp::now() + SignedDuration::from_mins(LEASE_MINUTES);
        let ownership = Ownership { build: build_id(), lease_expires };
        let pod = pod(self.namespace(), &node, image, &ownership);
        let name = pod.metadata.name.clone().unwrap_or_default();
        // If the cluster does not allow it. What else may befall it, `pull` judges.
        let remedies = Remedies {
            quota: Remedy::new(
                "raise the namespace's ResourceQuota: the check makes pods of 10m CPU and 16Mi of memory",
            ),
            limit_range: Remedy::new(
                "have the namespace's LimitRange allow pods of 10m CPU and 16Mi of memory",
            ),
            ..self.words.registry.remedies
        };
        // Not interrupted: a pod whose creation is still under way cannot be deleted for sure.
        cx.within_grace(self.cluster.apply_pod(&pod, &remedies)).await.transpose()?;
        let pulled = cx.cancel.run_until_cancelled(self.pulled(&name, &node)).await.unwrap_or(Ok(()));
        let (cluster, namespace, pod) = (self.cluster.clone(), self.namespace().to_owned(), name.clone());
        let removing = async move { cluster.delete::<Pod>(&namespace, &pod).await };
        // Goes on by itself if nobody waits any longer.
        let removal = tokio::spawn(removing.in_current_span());
        let removed = cx.within_grace(removal).await;
        let left = removed.is_none().then(|| format!("Pod {}/{name}", self.namespace()));
        // The task is not aborted.
        pulled.and(removed.and_then(Result::ok).unwrap_or(Ok(()))).map(|()| Checked { node, left })
    }

    async fn pulled(&self, name: &str, node: &str) -> Result<(), ClusterError> {
        let started = Instant::now();
        let mut pods = Watched::of(Watch::<Pod>::one(&self.cluster, self.namespace(), name));
        loop {
            let pod = pods.all().and_then(|mut pods| pods.pop());
            let (reason, until) = match pod.as_ref().map_or(Pull::Waiting, pull) {
                Pull::Done => return Ok(()),
                Pull::Refused(reason) => return Err(unusable(node, &reason)),
                Pull::Failing(reason) => (reason, started + PULL_GRACE),
                Pull::Waiting => ("its kubelet has not tried yet".to_owned(), started + PATIENCE),
            };
            match timeout_at(until, pods.changed()).await {
                Ok(changed) => changed?,
                Err(_) => return Err(unusable(node, &reason)),
            }
        }
    }

    pub(super) fn unpushable(&self, error: &RegistryError) -> ClusterError {
        let message = format!("nothing can be pushed to the registry {}: {error}", self.host());
        let hint = "see the log of its pod: its volume may be full, or not writable for user 1000";
        ClusterError::Pod(Diagnosis::other(ErrorKind::PushFailed, message, hint))
    }
}

/// Pushes an image that no node has, as it is made for the check with this identifier. A tag would keep it for ever.
async fn push(client: &RegistryClient, host: &str, check: &str) -> Result<Digest, RegistryError> {
    let layer = Bytes::from_static(&EMPTY_TAR);
    let layer_descriptor = Descriptor::of("application/vnd.oci.image.layer.v1.tar", &layer);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Labels": { "garden-build/check": check } },
        "rootfs": { "type": "layers", "diff_ids": [layer_descriptor.digest.to_string()] },
    });
    let config = Bytes::from(config.to_string());
    let config_descriptor = Descriptor::of("application/vnd.oci.image.config.v1+json", &config);
    for (descriptor, content) in [(&config_descriptor, config), (&layer_descriptor, layer)] {
        client.upload_blob(REPOSITORY, descriptor, None, &content, &Sent::untold()).await?;
    }
    let named = |descriptor: &Descriptor| {
        json!({
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest.to_string(),
            "size": descriptor.size,
        })
    };
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": named(&config_descriptor),
        "layers": [named(&layer_descriptor)],
    });
    let manifest = Manifest::new(Some(media_type), manifest.to_string());
    let digest = manifest.digest();
    let image: ImageReference =
        format!("{host}/{REPOSITORY}@{digest}").parse().map_err(|error: ReferenceError| {
            RegistryError::Malformed {
                what: "the name of the image for the check".to_owned(),
                reason: error.to_string(),
            }
        })?;
    client.push_manifest(&image, &manifest).await?;
    Ok(digest)
}

/// A pod on `node`, whatever taints that has.
fn pod(namespace: &str, node: &str, image: Digest, ownership: &Ownership) -> Pod {
    let amounts = || {
        let amounts = [("cpu", "10m"), ("memory", "16Mi")];
        Some(BTreeMap::from(amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))))
    };
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(format!("{}/{REPOSITORY}@{image}", ProviderConfig::IN_CLUSTER_REGISTRY)),
        image_pull_policy: Some("Always".to_owned()),
        command: Some(vec!["/there-is-no-program-in-this-image".to_owned()]),
        resources: Some(ResourceRequirements {
            requests: amounts(),
            limits: amounts(),
            ..ResourceRequirements::default()
        }),
        security_context: Some(as_ordinary_user()),
        ..Container::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("garden-registry-check-{}", ownership.build)),
            namespace: Some(namespace.to_owned()),
            labels: Some(ownership.labels()),
            annotations: Some(ownership.annotations()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            node_name: Some(node.to_owned()),
            containers: vec![container],
            restart_policy: Some("Never".to_owned()),
            active_deadline_seconds: Some(LEASE_MINUTES * 60),
            termination_grace_period_seconds: Some(0),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            tolerations: Some(vec![Toleration {
                operator: Some("Exists".to_owned()),
                ..Toleration::default()
            }]),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

/// How far a node is with an image.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Pull {
    Waiting,
    Done,
    /// It tries again.
    Failing(String),
    /// It did not even try.
    Refused(String),
}

fn pull(pod: &Pod) -> Pull {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let Some(state) = containers.into_iter().find_map(|container| container.state) else {
        let reason = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let refused = status.phase.as_deref() == Some("Failed");
        return if refused { Pull::Refused(reason) } else { Pull::Waiting };
    };
    let Some(waiting) = state.waiting else {
        // It ran, or was found unable to.
        return Pull::Done;
    };
    let message = waiting.message.unwrap_or_default();
    match waiting.reason.as_deref().unwrap_or_default() {
        // What comes after the pull. Source: Kubernetes, `pkg/kubelet/kuberuntime/kuberuntime_container.go`.
        "CreateContainerError" | "RunContainerError" | "CrashLoopBackOff" => Pull::Done,
        "ErrImagePull"
        | "ImagePullBackOff"
        | "RegistryUnavailable"
        | "ImageInspectError"
        | "InvalidImageName" => Pull::Failing(message),
        _ => Pull::Waiting,
    }
}

fn unusable(node: &str, reason: &str) -> ClusterError {
    let registry = ProviderConfig::IN_CLUSTER_REGISTRY;
    let message = format!("the node {node} cannot pull from the registry at {registry}: {reason}");
    let hint = "the cluster's network must support a `hostPort` that the node reaches at 127.0.0.1 (Cilium: `hostPort.enabled`), and \
                its container runtime must speak plain HTTP there; or push to a registry outside of the cluster";
    ClusterError::Pod(Diagnosis::other(ErrorKind::ImagePull, message, hint))
}

#[cfg(test)]
mod tests;
