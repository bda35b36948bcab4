//! When a service that all projects share is ready: its Deployment's latest pod serves, and the former one is gone.
//!
//! Whose settings it has does not matter here: it is used as it is by all.

use std::time::Duration;

use garden_build_core::ErrorKind;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};

use crate::api::name_of;
use crate::diagnosis::{Cause, Diagnosis};
use crate::service::DeploymentWords;
use crate::service::daemon;
use crate::service::judge::{self, Outlook};

/// Judges a service by its Deployment and the pods of it; `choose` returns the pod that is used. `events` are about the
/// [`subject`](judge::subject) of its newest pod.
pub(crate) fn outlook<T>(
    words: &DeploymentWords,
    deployment: &Deployment,
    pods: &[Pod],
    events: &[Event],
    choose: impl Fn(&[Pod]) -> Option<T>,
) -> Outlook<T> {
    let DeploymentWords { what, name, .. } = *words;
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Outlook::Waiting(format!("the cluster to take note of Deployment {name}"));
    }
    // The cluster calls a pod available when all of its containers are ready, those that are not ours among them.
    let serves = || judge::living(pods).pop().is_some_and(|pod| daemon::serves(pod, words.container));
    if [status.replicas, status.updated_replicas] == [Some(1); 2]
        && (status.available_replicas == Some(1) || serves())
        && let Some(chosen) = choose(pods)
    {
        return Outlook::Ready(chosen);
    }
    if judge::is_stopped(deployment) {
        let message = format!("{} is scaled to nothing, or paused", name_of(deployment));
        let stopped = Diagnosis::other(ErrorKind::NotFound, message, words.missing).because(Cause::Overtaken);
        return Outlook::stuck(stopped, Duration::ZERO);
    }
    if status.replicas.is_some_and(|all| all > 0) && status.updated_replicas.is_none_or(|new| new == 0) {
        // What it suffers from may be what was put right.
        return Outlook::Waiting(format!("the former pod of {what} to stop"));
    }
    if let Some(pod) = judge::living(pods).pop() {
        return judge::of_pod(words, pod, events);
    }
    match judge::failure_of_deployment(deployment) {
        Some(message) => Outlook::Stuck(judge::refused(&words.remedies, &name_of(deployment), message)),
        None if pods.is_empty() => Outlook::Waiting(format!("the cluster to make the pod of {what}")),
        None => Outlook::Waiting(format!("the former pod of {what} to stop")),
    }
}
