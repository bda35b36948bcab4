//! When a daemon of certain settings is ready: a pod of this very configuration has started. A former one may go on beside
//! it until its builds have ended.

use garden_build_core::ErrorKind;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;

use crate::api::Refusal;
use crate::diagnosis::{Cause, Diagnosis, Lack, Trouble};
use crate::pod::latest_message;
use crate::service::judge::{self, Outlook, Subject};
use crate::service::{DaemonPod, DeploymentWords, configuration, daemon};

/// What the cluster has of a Deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) pods: &'a [Pod],
    /// The `ReplicaSet` of the wanted configuration, which is to make the pod.
    pub(crate) maker: Option<&'a ReplicaSet>,
}

/// Returns the pods of the `wanted` configuration that live, oldest first.
fn current<'a>(pods: &'a [Pod], wanted: &str) -> Vec<&'a Pod> {
    judge::living(pods).into_iter().filter(|pod| configuration(&pod.metadata) == wanted).collect()
}

/// Chooses the daemon that takes the build: of the wanted configuration, started, and not stopping. Of several the
/// oldest, so that all clients agree and find their contexts again.
pub(crate) fn choose(words: &DeploymentWords, pods: &[Pod], wanted: &str) -> Option<DaemonPod> {
    current(pods, wanted).into_iter().find_map(|pod| DaemonPod::of(pod, words.container))
}

/// Reports if somebody else has taken our Deployment away while its pod was waited for. Not undone: two clients that do so
/// would go on for ever.
pub(crate) fn overtaken(
    words: &DeploymentWords,
    namespace: &str,
    live: Option<&Deployment>,
    wanted: &str,
) -> Option<Diagnosis> {
    let what = match live {
        None => "deleted by somebody else",
        Some(live) if configuration(&live.metadata) != wanted => "configured differently by another client",
        Some(live) if judge::is_stopped(live) => "stopped by somebody else",
        Some(_) => return None,
    };
    let message = format!("Deployment {namespace}/{} was {what} before {} was ready", words.name, words.what);
    let diagnosis = Diagnosis::other(ErrorKind::BuilderLost, message, words.missing);
    Some(diagnosis.because(Cause::Overtaken).retryable())
}

/// Describes what the events to read are about.
pub(crate) fn subject(words: &DeploymentWords, shown: Shown<'_>, wanted: &str) -> Option<Subject> {
    let pod = current(shown.pods, wanted).pop().map(|pod| judge::subject(words, pod));
    pod.or_else(|| shown.maker.map(|maker| ("ReplicaSet", maker.name_any())))
}

/// Judges the pods and the `ReplicaSet` of the wanted configuration. `events` are about their [`subject`].
pub(crate) fn outlook(
    words: &DeploymentWords,
    shown: Shown<'_>,
    wanted: &str,
    events: &[Event],
) -> Outlook<DaemonPod> {
    let Shown { pods, maker } = shown;
    if let Some(daemon) = choose(words, pods, wanted) {
        return Outlook::Ready(daemon);
    }
    let trouble = match current(pods, wanted).pop() {
        Some(pod) => match judge::of_pod(words, pod, events) {
            Outlook::Stuck(trouble) => Some(trouble),
            other => return other,
        },
        None => maker.and_then(|maker| refused(words, maker, events)),
    };
    let is_finishing = |pod: &&Pod| pod.metadata.deletion_timestamp.is_some() && !judge::has_ended(pod);
    let end_of = |pod: &Pod| {
        let name = pod.name_any();
        if daemon::is_outlived(pod, words.container) {
            format!("what the cluster has added to the former daemon's Pod {name} to stop")
        } else {
            format!("the former daemon, Pod {name}, to finish its builds")
        }
    };
    match (trouble, pods.iter().find(is_finishing)) {
        // The volume, a share of the quota or of the node becomes free when the former daemon ends.
        (trouble, Some(finishing)) if trouble.as_ref().is_none_or(lacks_room) => {
            Outlook::Waiting(end_of(finishing))
        }
        (Some(trouble), _) => Outlook::Stuck(trouble),
        (None, _) => Outlook::Waiting(format!("the cluster to make the pod of {}", words.what)),
    }
}

fn lacks_room(trouble: &Trouble) -> bool {
    matches!(
        trouble.diagnosis.cause,
        Cause::Unschedulable(Lack { room: true, .. })
            | Cause::Refused(Refusal::Quota | Refusal::QuotaOfObjects)
    )
}

/// Explains why the daemon's pod cannot be made.
///
/// Asked of the `ReplicaSet` of this very configuration: the Deployment repeats the failures of former ones as well. The
/// condition keeps the first message for as long as it lasts; the events have the latest.
fn refused(words: &DeploymentWords, maker: &ReplicaSet, events: &[Event]) -> Option<Trouble> {
    let conditions = maker.status.as_ref()?.conditions.as_ref()?;
    let first = conditions.iter().find_map(|condition| {
        judge::failure((&condition.type_).into(), (&condition.status).into(), condition.message.as_deref())
    })?;
    let message = latest_message(events, "FailedCreate").unwrap_or(first);
    let namespace = maker.metadata.namespace.as_deref().unwrap_or_default();
    let owner = format!("Deployment {namespace}/{}", words.name);
    Some(judge::refused(&words.remedies, &owner, message))
}

#[cfg(test)]
mod tests;
