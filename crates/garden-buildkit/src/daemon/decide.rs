//! The decisions about the daemon, as functions from what the cluster shows to what it means.

use std::time::Duration;

use garden_build_core::ErrorKind;
use garden_cluster::{
    DaemonPod, Diagnosis, MANAGED_BY_LABEL, MANAGER, PodState, Trouble, diagnose, latest_message,
    volume_trouble,
};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::daemon::{WORDS, refusal};
use crate::spec::{CONFIGURATION, CONTAINER, NAME};

/// How long the cluster may refuse the daemon's pod: a refusal that is out of date goes with the
/// controller's next look.
const REFUSAL_GRACE: Duration = Duration::from_secs(3);

/// A new namespace gets its service account after its first Deployment's first pod is tried.
const NEW_NAMESPACE_GRACE: Duration = Duration::from_secs(15);

/// Where the class of the daemon's volume is set.
const STORAGE_CLASS: &str = "clusterBuildkit.storage.storageClass";

/// How our Deployment in the cluster stands to the wanted one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// There is none.
    Absent,
    /// It has another configuration, which we or another client gave it at this time.
    Outdated { since: Option<Timestamp> },
    /// It has the right configuration, but somebody has scaled it to nothing or paused it.
    Stopped,
    /// There is nothing to change.
    Current,
}

pub(super) fn standing(live: Option<&Deployment>, wanted: &Deployment) -> Standing {
    let Some(live) = live else { return Standing::Absent };
    if configuration(&live.metadata) != configuration(&wanted.metadata) {
        let applies = live.metadata.managed_fields.iter().flatten().filter(|entry| {
            entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply")
        });
        let since = applies.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max();
        return Standing::Outdated { since };
    }
    let spec: Option<&DeploymentSpec> = (&live.spec).into();
    if spec.is_some_and(|spec| spec.replicas == Some(0) || spec.paused == Some(true)) {
        return Standing::Stopped;
    }
    Standing::Current
}

/// Whether another program has made it.
pub(super) fn is_foreign(live: &Deployment) -> bool {
    let labels = live.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY_LABEL)).is_none_or(|manager| manager != MANAGER)
}

/// Returns the configuration that an object was made from; nothing if it is not one of ours.
pub(super) fn configuration(metadata: &ObjectMeta) -> &str {
    metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(CONFIGURATION))
        .map(String::as_str)
        .unwrap_or_default()
}

/// Returns the wanted strategy if the present one is of another type.
pub(super) fn strategy_to_replace<'a>(live: &Deployment, wanted: &'a Deployment) -> Option<&'a str> {
    let (live, wanted): (Option<&DeploymentSpec>, Option<&DeploymentSpec>) =
        ((&live.spec).into(), (&wanted.spec).into());
    let present = live?.strategy.as_ref()?.type_.as_deref()?;
    let wanted = wanted?.strategy.as_ref()?.type_.as_deref()?;
    (present != wanted).then_some(wanted)
}

pub(super) fn foreign(namespace: &str) -> Diagnosis {
    refusal(
        ErrorKind::Rejected,
        format!(
            "Deployment {namespace}/{NAME} was made by another program, such as Garden, which may have builds in it"
        ),
        "delete it if nothing uses it any more, or build in another namespace",
        false,
    )
}

/// Says if somebody else has taken our Deployment away while we waited for its pod. Not undone: two
/// clients that do so would go on for ever.
pub(super) fn overtaken(namespace: &str, live: Option<&Deployment>, wanted: &str) -> Option<Diagnosis> {
    let what = match live {
        None => "deleted by somebody else",
        Some(live) if configuration(&live.metadata) != wanted => "configured differently by another client",
        Some(_) => return None,
    };
    Some(refusal(
        ErrorKind::BuilderLost,
        format!("Deployment {namespace}/{NAME} was {what} before its daemon was ready"),
        "build again; clients that share a namespace need the same `clusterBuildkit` and `resources.builder`",
        true,
    ))
}

/// Chooses the daemon that takes the build: of the wanted configuration, started, and not told to
/// stop. Of several the oldest, so that all clients agree and find their contexts again.
pub(super) fn choose(pods: &[Pod], wanted: &str) -> Option<DaemonPod> {
    current(pods, wanted).into_iter().find_map(|pod| DaemonPod::of(pod, CONTAINER))
}

/// Returns the pod that is most likely to become the daemon.
pub(super) fn newest<'a>(pods: &'a [Pod], wanted: &str) -> Option<&'a Pod> {
    current(pods, wanted).pop()
}

/// What is to be expected of the Deployment's pods.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outlook {
    /// One takes builds.
    Ready(DaemonPod),
    /// One may soon; this is what it waits for.
    Waiting(String),
    /// None will, unless this passes.
    Stuck(Trouble),
}

/// Judges the pods and the `ReplicaSet` of the wanted configuration; `events` are about the newest pod,
/// or about the `ReplicaSet` while it has none.
pub(super) fn outlook(
    pods: &[Pod],
    replica_set: Option<&ReplicaSet>,
    wanted: &str,
    events: &[Event],
) -> Outlook {
    if let Some(daemon) = choose(pods, wanted) {
        return Outlook::Ready(daemon);
    }
    let finishing = pods.iter().find(|pod| pod.metadata.deletion_timestamp.is_some() && !has_ended(pod));
    let trouble = match newest(pods, wanted) {
        Some(pod) => {
            match WORDS.crash_loop(pod).map_or_else(|| diagnose(pod, CONTAINER, events), PodState::Stuck) {
                PodState::Stuck(trouble) => {
                    Some(volume_trouble(pod, NAME, STORAGE_CLASS, events).unwrap_or(trouble))
                }
                PodState::Starting(what) => return Outlook::Waiting(what.to_owned()),
                PodState::Running => return Outlook::Waiting("the daemon to answer".to_owned()),
                // Kubernetes tries again, and says so when it waits longer each time.
                PodState::Exited { .. } | PodState::Killed(_) => {
                    return Outlook::Waiting("the daemon to be started again".to_owned());
                }
            }
        }
        None => replica_set.and_then(|replica_set| replica_failure(replica_set, events)),
    };
    match (trouble, finishing) {
        // The volume, a share of the quota or of the node becomes free when the former daemon ends.
        (trouble, Some(finishing)) if trouble.as_ref().is_none_or(lacks_room) => {
            let name = finishing.metadata.name.as_deref().unwrap_or_default();
            Outlook::Waiting(format!("the former daemon, Pod {name}, to finish its builds"))
        }
        (Some(trouble), _) => Outlook::Stuck(trouble),
        (None, _) => Outlook::Waiting("the cluster to make the daemon's pod".to_owned()),
    }
}

fn lacks_room(trouble: &Trouble) -> bool {
    let message = &trouble.diagnosis.message;
    ["exceeded quota", "Insufficient ", "anti-affinity"].iter().any(|words| message.contains(words))
}

/// Pods of the wanted configuration that live, oldest first.
fn current<'a>(pods: &'a [Pod], wanted: &str) -> Vec<&'a Pod> {
    let mut current: Vec<&Pod> = pods
        .iter()
        .filter(|pod| configuration(&pod.metadata) == wanted)
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && !has_ended(pod))
        .collect();
    let age =
        |pod: &&Pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.metadata.name.clone());
    current.sort_by_key(age);
    current
}

/// Evicted pods stay to be looked at, while others take their place.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Says why the daemon's pod cannot be made: this shows on no pod, as there is none.
///
/// Asked of the `ReplicaSet` of this very configuration: the Deployment repeats the failures of former
/// ones as well. The condition keeps the first message for as long as it lasts; the events have the latest.
fn replica_failure(replica_set: &ReplicaSet, events: &[Event]) -> Option<Trouble> {
    let conditions = replica_set.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| {
        // Optional in some versions of the Kubernetes API only.
        let (type_, status): (Option<&String>, Option<&String>) =
            ((&condition.type_).into(), (&condition.status).into());
        is_failure(type_, status)
    })?;
    let message = latest_message(events, "FailedCreate").or(condition.message.as_deref()).unwrap_or_default();
    let message = message.rsplit("Error creating: ").next().unwrap_or(message);
    let hint = if message.contains("exceeded quota") {
        "lower `resources.builder`, or raise the namespace's ResourceQuota"
    } else if message.contains("PodSecurity") {
        // `baseline` forbids a privileged container, and unconfined profiles as well.
        "BuildKit, rootless too, needs a namespace with the label `pod-security.kubernetes.io/enforce: privileged`; \
         set it, or use `buildMode: kaniko`"
    } else if message.to_ascii_lowercase().contains("privileged") {
        "set `clusterBuildkit.rootless: true`, which needs no privileged container, or allow one in this namespace"
    } else {
        "the cluster's admission rules or validation do not allow the daemon's pod"
    };
    let grace = if message.contains("error looking up service account") {
        NEW_NAMESPACE_GRACE
    } else {
        REFUSAL_GRACE
    };
    let namespace = replica_set.metadata.namespace.as_deref().unwrap_or_default();
    let message = format!("the cluster refused the pod of Deployment {namespace}/{NAME}: {message}");
    Some(Trouble { diagnosis: refusal(ErrorKind::Rejected, message, hint, false), grace })
}

/// Whether the cluster was last known to refuse a pod of this Deployment. It tries again after ever
/// longer times.
pub(super) fn is_refused(deployment: &Deployment) -> bool {
    let conditions = deployment.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        let (type_, status): (Option<&String>, Option<&String>) =
            ((&condition.type_).into(), (&condition.status).into());
        is_failure(type_, status)
    })
}

fn is_failure(type_: Option<&String>, status: Option<&String>) -> bool {
    type_.is_some_and(|type_| type_ == "ReplicaFailure") && status.is_some_and(|status| status == "True")
}

#[cfg(test)]
mod tests;
