//! The decisions about the registry's pods, as functions from what the cluster shows to what it means.

use std::time::Duration;

use garden_build_core::ErrorKind;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::InClusterRegistry;
use crate::{
    Diagnosis, MANAGED_BY_LABEL, MANAGER, PodState, Trouble, diagnose, latest_message, volume_trouble,
};

const NAME: &str = InClusterRegistry::NAME;
const PROXY: &str = InClusterRegistry::PROXY;

/// How long the cluster may refuse a pod: a refusal that is out of date goes with the controller's next look.
const REFUSAL_GRACE: Duration = Duration::from_secs(3);

/// A new namespace gets its service account after its first pods are tried.
const NEW_NAMESPACE_GRACE: Duration = Duration::from_secs(15);

/// How often a container may end before it is taken for broken.
const RESTARTS: i32 = 2;

/// Where the class of the registry's volume is set.
const STORAGE_CLASS: &str = "storage.registry.storageClass";

/// What is to be expected of pods.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outlook {
    /// They serve.
    Ready,
    /// They may soon; this is what they wait for.
    Waiting(String),
    /// They will not, unless this passes.
    Stuck(Trouble),
}

/// Says if another program has made the object called `what`.
pub(super) fn foreign(what: &str, metadata: &ObjectMeta) -> Option<Diagnosis> {
    let manager = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
    (manager.is_none_or(|manager| manager != MANAGER)).then(|| {
        let message =
            format!("{what} was made by another program, such as Garden, and so is not changed or used");
        diagnosis(
            ErrorKind::Rejected,
            message,
            "uninstall it there, or set `gardenSystemNamespace` to another namespace, if nothing uses the port 5000 of the nodes",
        )
    })
}

/// Judges the registry by its Deployment and the pods of it. `events` are about its newest pod, or about its volume
/// claim while it lacks the volume.
pub(super) fn registry(deployment: &Deployment, pods: &[Pod], events: &[Event]) -> Outlook {
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Outlook::Waiting(format!("the cluster to take note of Deployment {NAME}"));
    }
    let amounts = [status.replicas, status.updated_replicas, status.available_replicas];
    if amounts == [Some(1); 3] {
        return Outlook::Ready;
    }
    let Some(pod) = newest(pods) else {
        let refusal = status.conditions.iter().flatten().find(|condition| {
            // Optional in some versions of the Kubernetes API only.
            let (type_, status): (Option<&String>, Option<&String>) =
                ((&condition.type_).into(), (&condition.status).into());
            type_.is_some_and(|it| it == "ReplicaFailure") && status.is_some_and(|it| it == "True")
        });
        return match refusal.and_then(|condition| condition.message.as_deref()) {
            Some(message) => Outlook::Stuck(refused("Deployment", NAME, message)),
            None if pods.is_empty() => Outlook::Waiting("the cluster to make the registry's pod".to_owned()),
            None => Outlook::Waiting("the registry's former pod to stop".to_owned()),
        };
    };
    match stuck(pod, InClusterRegistry::CONTAINER, events) {
        Some(trouble) => Outlook::Stuck(volume_trouble(pod, NAME, STORAGE_CLASS, events).unwrap_or(trouble)),
        None => Outlook::Waiting(waiting_for("the registry", pod, InClusterRegistry::CONTAINER)),
    }
}

/// Judges the proxies by their `DaemonSet` and the pods of it. `events` are about the first pod that is not ready, or
/// about the `DaemonSet` if there is none.
pub(super) fn proxies(daemon_set: &DaemonSet, pods: &[Pod], events: &[Event]) -> Outlook {
    let Some(status) = &daemon_set.status else {
        return Outlook::Waiting(format!("the cluster to take note of DaemonSet {PROXY}"));
    };
    if status.observed_generation < daemon_set.metadata.generation {
        return Outlook::Waiting(format!("the cluster to take note of DaemonSet {PROXY}"));
    }
    let wanted = status.desired_number_scheduled;
    if let Some(pod) = unready(pods) {
        return match stuck(pod, "proxy", events) {
            Some(trouble) => Outlook::Stuck(trouble),
            None => Outlook::Waiting(waiting_for("the proxy", pod, "proxy")),
        };
    }
    let present = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
    if i32::try_from(present).is_ok_and(|present| present < wanted) {
        return match latest_message(events, "FailedCreate") {
            Some(message) => Outlook::Stuck(refused("DaemonSet", PROXY, message)),
            None => Outlook::Waiting("the cluster to make the proxies' pods".to_owned()),
        };
    }
    if wanted == 0 {
        let message = format!("no node takes the pods of DaemonSet {PROXY}, so none could pull images");
        let hint = "set `registryProxyTolerations` to tolerate the taints of the nodes";
        let diagnosis = diagnosis(ErrorKind::Unschedulable, message, hint);
        return Outlook::Stuck(Trouble { diagnosis, grace: REFUSAL_GRACE });
    }
    if status.updated_number_scheduled.unwrap_or_default() < wanted {
        return Outlook::Waiting("the former proxies to be replaced".to_owned());
    }
    Outlook::Ready
}

/// Returns the pod that is most likely to become the registry.
pub(super) fn newest(pods: &[Pod]) -> Option<&Pod> {
    let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && !has_ended(pod));
    living.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Returns the first pod that does not serve yet. One on a node that the cluster has lost is no reason to wait.
pub(super) fn unready(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().find(|pod| {
        let living = pod.metadata.deletion_timestamp.is_none() && !has_ended(pod);
        living && !is_ready(pod) && !is_on_lost_node(pod)
    })
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|status| status == "True")
}

/// The kubelet of a lost node cannot say any more that the container is not ready.
fn is_on_lost_node(pod: &Pod) -> bool {
    let container_ready = container(pod).is_some_and(|status| status.ready);
    container_ready && condition(pod, "Ready").is_some_and(|status| status != "True")
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status.as_str())
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn stuck(pod: &Pod, name: &str, events: &[Event]) -> Option<Trouble> {
    if let Some(trouble) = crash(pod) {
        return Some(trouble);
    }
    match diagnose(pod, name, events) {
        PodState::Stuck(trouble) => {
            Some(Trouble { diagnosis: of_the_registry(trouble.diagnosis), ..trouble })
        }
        _ => None,
    }
}

/// Says why a container ended that Kubernetes starts again and again.
fn crash(pod: &Pod) -> Option<Trouble> {
    let status = container(pod)?;
    let ended = status.last_state.as_ref()?.terminated.as_ref()?;
    if status.ready || status.restart_count < RESTARTS {
        return None;
    }
    let name = crate::client::name_of(pod);
    let said = ended.message.as_deref().unwrap_or_default();
    let last_words = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let diagnosis = if ended.reason.as_deref() == Some("OOMKilled") {
        let message = format!("{name} ran out of memory");
        diagnosis(ErrorKind::OutOfMemory, message, "raise `resources.registry.limits.memory`")
    } else {
        let message = format!("{name} ends with exit code {}: {last_words}", ended.exit_code);
        let message = message.trim_end_matches([':', ' ']).to_owned();
        let hint = "check that `inClusterRegistry.image` is a registry with `sh` and `nc`, and that user 1000 may write to its volume";
        diagnosis(ErrorKind::BuilderStart, message, hint)
    };
    Some(Trouble { diagnosis, grace: Duration::ZERO })
}

/// Says how to cure it where the general diagnosis speaks of builders.
fn of_the_registry(diagnosis: Diagnosis) -> Diagnosis {
    let message = &diagnosis.message;
    let hint = match diagnosis.kind {
        ErrorKind::ImagePull => {
            "check `inClusterRegistry.image`, and that nodes can reach where it comes from; `utilImageRegistryDomain` names another place"
        }
        ErrorKind::Unschedulable if message.contains("free ports") => {
            "another pod has taken port 5000 of this node, such as the registry proxy of Garden itself; remove it"
        }
        ErrorKind::Unschedulable => {
            "check `systemNodeSelector` and `resources.registry.requests` against the cluster's nodes"
        }
        ErrorKind::OutOfMemory => "raise `resources.registry.limits.memory`",
        _ => return diagnosis,
    };
    Diagnosis { hint: Some(hint.to_owned()), ..diagnosis }
}

/// Says why a pod cannot be made: this shows on no pod, as there is none.
fn refused(kind: &str, name: &str, message: &str) -> Trouble {
    let message = message.rsplit("Error creating: ").next().unwrap_or(message);
    let hint = if message.contains("exceeded quota") || message.contains("failed quota") {
        "lower `resources.registry`, or raise the namespace's ResourceQuota"
    } else if message.contains("hostPort") || message.contains("PodSecurity") {
        "the nodes reach the registry by a host port, so its namespace needs the label \
         `pod-security.kubernetes.io/enforce: privileged`; set it, or set `deploymentRegistry` to a registry outside of the cluster"
    } else {
        "the cluster's admission rules or validation do not allow this pod"
    };
    let passes = message.contains("error looking up service account");
    let grace = if passes { NEW_NAMESPACE_GRACE } else { REFUSAL_GRACE };
    let message = format!("the cluster refused a pod of {kind} {name}: {message}");
    Trouble { diagnosis: diagnosis(ErrorKind::Rejected, message, hint), grace }
}

fn waiting_for(what: &str, pod: &Pod, container: &str) -> String {
    match diagnose(pod, container, &[]) {
        PodState::Starting(waiting_for) => format!("{waiting_for} ({})", crate::client::name_of(pod)),
        _ => format!("{what} to answer ({})", crate::client::name_of(pod)),
    }
}

fn diagnosis(kind: ErrorKind, message: String, hint: &str) -> Diagnosis {
    Diagnosis { kind, message, hint: Some(hint.to_owned()), retryable: false }
}

#[cfg(test)]
mod tests;
