//! The decisions about a service's pods, as functions from what the cluster shows to what it means.

use std::time::Duration;

use garden_build_core::ErrorKind;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::diagnosis::{Diagnosis, Trouble};
use crate::ownership::{MANAGED_BY_LABEL, MANAGER};
use crate::pod::{PodState, diagnose};
use crate::service::shared::ServiceWords;
use crate::service::volume_trouble;

/// How long the cluster may refuse a pod: a refusal that is out of date goes with the controller's next look.
pub(crate) const REFUSAL_GRACE: Duration = Duration::from_secs(3);

/// A new namespace gets its service account after its first pods are tried.
const NEW_NAMESPACE_GRACE: Duration = Duration::from_secs(15);

/// How often a container may end before it is taken for broken.
const RESTARTS: i32 = 2;

/// What is to be expected of pods.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outlook {
    /// They serve.
    Ready,
    /// They may soon; this is what they wait for.
    Waiting(String),
    /// They will not, unless this passes.
    Stuck(Trouble),
}

/// Says if another program has made the object called `what`.
pub(crate) fn foreign(words: &ServiceWords, what: &str, metadata: &ObjectMeta) -> Option<Diagnosis> {
    let manager = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
    (manager.is_none_or(|manager| manager != MANAGER)).then(|| {
        let message =
            format!("{what} was made by another program, such as Garden, and so is not changed or used");
        diagnosis(ErrorKind::Rejected, message, words.foreign_hint)
    })
}

/// Judges a service by its Deployment and the pods of it. `events` are about its newest pod, or about its volume claim
/// while it lacks the volume.
pub(crate) fn outlook(
    words: &ServiceWords,
    deployment: &Deployment,
    pods: &[Pod],
    events: &[Event],
) -> Outlook {
    let ServiceWords { what, name, claim, container, storage_class, .. } = *words;
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Outlook::Waiting(format!("the cluster to take note of Deployment {name}"));
    }
    let amounts = [status.replicas, status.updated_replicas, status.available_replicas];
    if amounts == [Some(1); 3] {
        return Outlook::Ready;
    }
    if status.replicas.is_some_and(|all| all > 0) && status.updated_replicas.is_none_or(|new| new == 0) {
        // What it suffers from may be what was put right.
        return Outlook::Waiting(format!("the former pod of {what} to stop"));
    }
    let Some(pod) = newest(pods) else {
        let refusal = status.conditions.iter().flatten().find(|condition| {
            // Optional in some versions of the Kubernetes API only.
            let (type_, status): (Option<&String>, Option<&String>) =
                ((&condition.type_).into(), (&condition.status).into());
            type_.is_some_and(|it| it == "ReplicaFailure") && status.is_some_and(|it| it == "True")
        });
        return match refusal.and_then(|condition| condition.message.as_deref()) {
            Some(message) => Outlook::Stuck(refused(words, "Deployment", name, message)),
            None if pods.is_empty() => Outlook::Waiting(format!("the cluster to make the pod of {what}")),
            None => Outlook::Waiting(format!("the former pod of {what} to stop")),
        };
    };
    match stuck(words, pod, container, events) {
        Some(trouble) => Outlook::Stuck(volume_trouble(pod, claim, storage_class, events).unwrap_or(trouble)),
        None => Outlook::Waiting(waiting_for(what, pod, container)),
    }
}

/// Returns the pod that is most likely to serve.
pub(crate) fn newest(pods: &[Pod]) -> Option<&Pod> {
    let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && !has_ended(pod));
    living.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

pub(crate) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Says what keeps a pod from serving, if it is known. `main` is the container that matters.
pub(crate) fn stuck(words: &ServiceWords, pod: &Pod, main: &str, events: &[Event]) -> Option<Trouble> {
    if let Some(trouble) = lacks_program(words, pod).or_else(|| crash(words, pod)) {
        return Some(trouble);
    }
    match diagnose(pod, main, events) {
        PodState::Stuck(trouble) => {
            Some(Trouble { diagnosis: of_the_service(words, trouble.diagnosis), ..trouble })
        }
        _ => None,
    }
}

/// Says that a container's image does not have what it is to run, which another start does not change.
/// Source of the words: runc and Go, `os/exec`.
fn lacks_program(words: &ServiceWords, pod: &Pod) -> Option<Trouble> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let messages = statuses.iter().flat_map(|status| {
        let waiting = |state: &ContainerState| state.waiting.as_ref()?.message.clone();
        let ended = |state: &ContainerState| {
            let terminated = state.terminated.as_ref()?;
            // Others may have said the like themselves.
            let is_runtime_s = ["StartError", "ContainerCannotRun"].contains(&terminated.reason.as_deref()?);
            terminated.message.clone().filter(|_| is_runtime_s)
        };
        let (now, before) = (status.state.as_ref(), status.last_state.as_ref());
        [now.and_then(waiting), now.and_then(ended), before.and_then(ended)].into_iter().flatten()
    });
    let missing = ["no such file or directory", "executable file not found"];
    let message = messages
        .into_iter()
        .find(|it| it.contains("exec: ") && missing.iter().any(|sign| it.contains(sign)))?;
    let reason = message.split("exec: ").last().unwrap_or_default();
    let message =
        format!("{} cannot start, as its image lacks a program: {reason}", crate::api::name_of(pod));
    let diagnosis = diagnosis(ErrorKind::BuilderStart, message, words.crash_hint);
    Some(Trouble { diagnosis, grace: Duration::ZERO })
}

/// Says why a container ended that Kubernetes starts again and again.
fn crash(words: &ServiceWords, pod: &Pod) -> Option<Trouble> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let broken = |status: &&ContainerStatus| !status.ready && status.restart_count >= RESTARTS;
    let ended = statuses.iter().find(broken)?.last_state.as_ref()?.terminated.as_ref()?;
    let name = crate::api::name_of(pod);
    let said = ended.message.as_deref().unwrap_or_default();
    let last_words = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let diagnosis = if ended.reason.as_deref() == Some("OOMKilled") {
        let hint = format!("raise `{}.limits.memory`", words.resources);
        diagnosis(ErrorKind::OutOfMemory, format!("{name} ran out of memory"), &hint)
    } else {
        let message = format!("{name} ends with exit code {}: {last_words}", ended.exit_code);
        let message = message.trim_end_matches([':', ' ']).to_owned();
        diagnosis(ErrorKind::BuilderStart, message, words.crash_hint)
    };
    Some(Trouble { diagnosis, grace: Duration::ZERO })
}

/// Says how to cure it where the general diagnosis speaks of builders.
fn of_the_service(words: &ServiceWords, diagnosis: Diagnosis) -> Diagnosis {
    let resources = words.resources;
    let hint = match diagnosis.kind {
        ErrorKind::ImagePull => words.image_hint.to_owned(),
        ErrorKind::Unschedulable if diagnosis.message.contains("free ports") => {
            "another pod has taken port 5000 of this node, such as the registry proxy of Garden itself; remove it"
                .to_owned()
        }
        ErrorKind::Unschedulable => {
            let selector = words.node_selector;
            format!("check {selector} and `{resources}.requests` against the cluster's nodes")
        }
        ErrorKind::OutOfMemory => format!("raise `{resources}.limits.memory`"),
        _ => return diagnosis,
    };
    Diagnosis { hint: Some(hint), ..diagnosis }
}

/// Says why a pod cannot be made: this shows on no pod, as there is none.
pub(crate) fn refused(words: &ServiceWords, kind: &str, name: &str, message: &str) -> Trouble {
    let message = message.rsplit("Error creating: ").next().unwrap_or(message);
    let hint = if message.contains("exceeded quota") || message.contains("failed quota") {
        format!("lower `{}`, or raise the namespace's ResourceQuota", words.resources)
    } else if ["hostPort", "PodSecurity", "rivileged"].iter().any(|sign| message.contains(sign)) {
        words.security_hint.to_owned()
    } else {
        "the cluster's admission rules or validation do not allow this pod".to_owned()
    };
    let passes = message.contains("error looking up service account");
    let grace = if passes { NEW_NAMESPACE_GRACE } else { REFUSAL_GRACE };
    let message = format!("the cluster refused a pod of {kind} {name}: {message}");
    Trouble { diagnosis: diagnosis(ErrorKind::Rejected, message, &hint), grace }
}

pub(crate) fn waiting_for(what: &str, pod: &Pod, container: &str) -> String {
    match diagnose(pod, container, &[]) {
        PodState::Starting(waiting_for) => format!("{waiting_for} ({})", crate::api::name_of(pod)),
        _ => format!("{what} to answer ({})", crate::api::name_of(pod)),
    }
}

pub(crate) fn diagnosis(kind: ErrorKind, message: String, hint: &str) -> Diagnosis {
    Diagnosis { kind, message, hint: Some(hint.to_owned()), retryable: false }
}
