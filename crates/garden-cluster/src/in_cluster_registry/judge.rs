//! The decisions about the proxies' pods, as functions from what the cluster shows to what it means.

use garden_build_core::ErrorKind;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Event, Pod};

use super::{InClusterRegistry, RegistryWords};
use crate::diagnosis::Diagnosis;
use crate::pod::latest_message;
use crate::service::daemon;
use crate::service::judge::{self, Outlook, REFUSAL_GRACE, Subject, has_ended};

const PROXY: &str = InClusterRegistry::PROXY;

/// Judges the proxies by their `DaemonSet` and the pods of it. `events` are about their [`subject`].
pub(super) fn proxies(
    words: &RegistryWords,
    daemon_set: &DaemonSet,
    pods: &[Pod],
    events: &[Event],
) -> Outlook<()> {
    let taken_note = |status: &&DaemonSetStatus| status.observed_generation >= daemon_set.metadata.generation;
    let Some(status) = daemon_set.status.as_ref().filter(taken_note) else {
        return Outlook::Waiting(format!("the cluster to take note of DaemonSet {PROXY}"));
    };
    let wanted = status.desired_number_scheduled;
    if let Some(pod) = unready(pods) {
        return judge::of_pod(&words.proxy, pod, events);
    }
    let present = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
    if i32::try_from(present).is_ok_and(|present| present < wanted) {
        return match latest_message(events, "FailedCreate") {
            Some(message) => {
                let owner = format!("DaemonSet {PROXY}");
                Outlook::Stuck(judge::refused(&words.proxy.remedies, &owner, message))
            }
            None => Outlook::Waiting("the cluster to make the proxies' pods".to_owned()),
        };
    }
    if wanted == 0 {
        let message = format!("no node takes the pods of DaemonSet {PROXY}, so none could pull images");
        let diagnosis = Diagnosis::other(ErrorKind::Unschedulable, message, words.taints);
        return Outlook::stuck(diagnosis, REFUSAL_GRACE);
    }
    if status.updated_number_scheduled.unwrap_or_default() < wanted {
        return Outlook::Waiting("the former proxies to be replaced".to_owned());
    }
    Outlook::Ready(())
}

/// Describes what the events to read are about.
pub(super) fn subject(words: &RegistryWords, pods: &[Pod]) -> Subject {
    match unready(pods) {
        Some(pod) => judge::subject(&words.proxy, pod),
        None => ("DaemonSet", PROXY.to_owned()),
    }
}

/// Returns the first pod that does not serve yet. Nobody waits for one on a node that the cluster has lost.
pub(super) fn unready(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().find(|pod| {
        let living = pod.metadata.deletion_timestamp.is_none() && !has_ended(pod);
        living && !is_ready(pod) && !is_on_lost_node(pod)
    })
}

/// Whether the proxy serves, whatever else the cluster has put into its pod.
pub(super) fn is_ready(pod: &Pod) -> bool {
    daemon::serves(pod, InClusterRegistry::PROXY_CONTAINER)
}

/// Whether the cluster has lost the node. A pod whose proxy has never started is waited for instead.
fn is_on_lost_node(pod: &Pod) -> bool {
    daemon::status_of(pod, InClusterRegistry::PROXY_CONTAINER).is_some() && daemon::is_on_lost_node(pod)
}

#[cfg(test)]
mod tests;
