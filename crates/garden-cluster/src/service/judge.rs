//! What the cluster shows of a Deployment's pods, and what that means: functions from objects to decisions.

use std::time::Duration;

use garden_build_core::ErrorKind;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{ContainerState, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{Refusal, name_of};
use crate::diagnosis::{Cause, Diagnosis, Remedies, Trouble};
use crate::ownership::{MANAGED_BY_LABEL, MANAGER};
use crate::pod::{PodState, diagnose, missing_program};
use crate::service::DeploymentWords;
use crate::service::claim::{lacks_volume, volume_trouble};

/// How long the cluster may refuse a pod: a refusal that is out of date goes with the controller's next look.
pub(crate) const REFUSAL_GRACE: Duration = Duration::from_secs(3);

/// A new namespace gets its service account after its first pods are tried.
const NEW_NAMESPACE_GRACE: Duration = Duration::from_secs(15);

/// What is to be expected of pods.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outlook<T> {
    /// They serve.
    Ready(T),
    /// They may soon; this is what they wait for.
    Waiting(String),
    /// They will not, unless this passes.
    Stuck(Trouble),
}

impl<T> Outlook<T> {
    pub(crate) fn stuck(diagnosis: Diagnosis, grace: Duration) -> Self {
        Self::Stuck(Trouble { diagnosis, grace })
    }
}

/// What events tell most about: a kind, and the name of the object.
pub(crate) type Subject = (&'static str, String);

/// Reports if another program has made the object called `what`.
pub(crate) fn foreign(words: &DeploymentWords, what: &str, metadata: &ObjectMeta) -> Option<Diagnosis> {
    let manager = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
    (manager.is_none_or(|manager| manager != MANAGER)).then(|| {
        let message =
            format!("{what} was made by another program, such as Garden, and so is not changed or used");
        Diagnosis::other(ErrorKind::Rejected, message, words.foreign).because(Cause::Foreign)
    })
}

/// Returns the annotation `name` of an object; nothing if it has none.
pub fn annotation<'m>(metadata: &'m ObjectMeta, name: &str) -> &'m str {
    let annotations = metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(name)).map(String::as_str).unwrap_or_default()
}

/// Whether somebody has scaled the Deployment to nothing, or paused it.
pub fn is_stopped(live: &Deployment) -> bool {
    // Optional in some versions of the Kubernetes API only.
    let spec: Option<&DeploymentSpec> = (&live.spec).into();
    spec.is_some_and(|spec| spec.replicas == Some(0) || spec.paused == Some(true))
}

/// Returns when we, or another client of our kind, gave an object its configuration.
pub fn configured_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    let applies = metadata.managed_fields.iter().flatten().filter(|entry| {
        entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply")
    });
    applies.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max()
}

/// Whether the cluster was last known to refuse a pod of this Deployment. It tries again after ever longer times.
pub fn is_refused(live: &Deployment) -> bool {
    failure_of_deployment(live).is_some()
}

/// Returns the message of a Deployment's condition that no pod could be made, if it has it.
pub(crate) fn failure_of_deployment(live: &Deployment) -> Option<&str> {
    let conditions = live.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find_map(|condition| {
        failure((&condition.type_).into(), (&condition.status).into(), condition.message.as_deref())
    })
}

/// Returns the message of a condition if it says that no pod could be made. Type and status are optional in some versions
/// of the Kubernetes API only.
pub(crate) fn failure<'a>(
    type_: Option<&String>,
    status: Option<&String>,
    message: Option<&'a str>,
) -> Option<&'a str> {
    let is = |value: Option<&String>, wanted: &str| value.is_some_and(|value| value == wanted);
    (is(type_, "ReplicaFailure") && is(status, "True")).then_some(message.unwrap_or_default())
}

/// Returns the pods that are neither stopping nor ended, oldest first. Evicted pods stay to be looked at, while
/// others take their place.
pub fn living(pods: &[Pod]) -> Vec<&Pod> {
    let mut living: Vec<&Pod> =
        pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && !has_ended(pod)).collect();
    let age = |pod: &&Pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.name_any());
    living.sort_by_key(age);
    living
}

pub(crate) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Describes what the events to read are about, to know what keeps `pod` from serving.
pub(crate) fn subject(words: &DeploymentWords, pod: &Pod) -> Subject {
    match words.volume.as_ref().filter(|_| lacks_volume(pod)) {
        Some(volume) => ("PersistentVolumeClaim", volume.claim.to_owned()),
        None => ("Pod", pod.name_any()),
    }
}

/// Describes what is to be expected of a pod that does not serve yet. `events` are about its [`subject`].
pub(crate) fn of_pod<T>(words: &DeploymentWords, pod: &Pod, events: &[Event]) -> Outlook<T> {
    let volume = || words.volume.as_ref().and_then(|volume| volume_trouble(pod, volume, events));
    let known = lacks_program(words, pod).or_else(|| words.crash_loop(pod)).or_else(volume);
    if let Some(trouble) = known {
        return Outlook::Stuck(trouble);
    }
    let what = words.what;
    let waiting_for = match diagnose(pod, words.container, &words.remedies, events) {
        PodState::Stuck(trouble) => return Outlook::Stuck(trouble),
        PodState::Starting(waiting_for) => waiting_for.to_owned(),
        PodState::Running => format!("{what} to answer"),
        // Kubernetes tries again, and says so when it waits longer each time.
        PodState::Exited { .. } | PodState::Killed(_) => format!("{what} to be started again"),
    };
    Outlook::Waiting(format!("{waiting_for} ({})", name_of(pod)))
}

/// States that the container's image does not have what it is to run, which another start does not change.
fn lacks_program(words: &DeploymentWords, pod: &Pod) -> Option<Trouble> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let messages = statuses.iter().filter(|status| status.name == words.container).flat_map(|status| {
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
    let reason = messages.into_iter().find_map(|message| missing_program(&message).map(str::to_owned))?;
    let message = format!("{} cannot start, as its image lacks a program: {reason}", name_of(pod));
    let diagnosis = Diagnosis::of(Cause::Start, ErrorKind::BuilderStart, message, &words.remedies);
    Some(Trouble { diagnosis, grace: Duration::ZERO })
}

/// Explains why a pod of `owner`, such as `Deployment a/b`, cannot be made: this shows on no pod, as there is none.
pub(crate) fn refused(remedies: &Remedies, owner: &str, message: &str) -> Trouble {
    let message = message.rsplit("Error creating: ").next().unwrap_or(message);
    let refusal = Refusal::of(message);
    let grace = if refusal.passes() { NEW_NAMESPACE_GRACE } else { REFUSAL_GRACE };
    let message = format!("the cluster refused a pod of {owner}: {message}");
    let diagnosis = Diagnosis::of(Cause::Refused(refusal), ErrorKind::Rejected, message, remedies);
    Trouble { diagnosis, grace }
}
