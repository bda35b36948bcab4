//! A daemon that builds, in a pod: the one that takes a build, and its end.

use std::net::IpAddr;
use std::time::Duration;

use garden_build_core::{ErrorKind, Remedy};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use kube::runtime::watcher::Event;

use crate::api::{Cluster, Watch, name_of};
use crate::diagnosis::{Cause, Diagnosis, Trouble};
use crate::pod::{PodState, deleted, diagnose};
use crate::service::DeploymentWords;

/// How long Kubernetes waits before it starts a container that has ended for the second time within ten minutes. Each further time, it waits
/// twice as long. Source: Kubernetes, "Pod Lifecycle", section "How Pods handle problems with containers".
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);

/// How long Kubernetes may back off from a container that had run: longer than it does the first time, and not as long as the second.
const BACK_OFF_GRACE: Duration = Duration::from_secs(15);

/// A daemon that takes builds: one container in one pod. When it ends, its builds end with it, even
/// if Kubernetes starts the next in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DaemonPod {
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
    /// The container's name.
    pub container: &'static str,
    /// The identifier of this run of the container.
    pub container_id: String,
    /// The pod's address in the cluster's network.
    pub address: Option<IpAddr>,
}

impl DaemonPod {
    /// Returns the daemon that runs in `container` of `pod`; `None` if it has not started yet, has ended, or is on a
    /// lost node. The container must have a startup probe and no other.
    pub fn of(pod: &Pod, container: &'static str) -> Option<Self> {
        let status = status_of(pod, container)?;
        // Not `ready`: that a busy daemon does not answer a probe in time means nothing.
        let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
        (running && status.started == Some(true) && !is_on_lost_node(pod)).then_some(())?;
        Some(Self {
            name: pod.metadata.name.clone()?,
            uid: pod.metadata.uid.clone()?,
            container,
            container_id: status.container_id.clone()?,
            address: pod.status.as_ref()?.pod_ip.as_ref().and_then(|address| address.parse().ok()),
        })
    }

    /// Completes when this very daemon has ended, with the cause.
    ///
    /// Its pod finishes its builds before it stops. A watch that fails is taken up again.
    pub async fn lost(&self, cluster: &Cluster, namespace: &str, words: &DeploymentWords) -> Diagnosis {
        let mut watch = Watch::<Pod>::one(cluster, namespace, &self.name);
        let mut last: Option<Pod> = None;
        let mut listed = false;
        let gone = |last: Option<&Pod>| deleted(namespace, &self.name, last);
        loop {
            match watch.next().await {
                Ok(Event::Init) => listed = false,
                Ok(Event::InitApply(pod) | Event::Apply(pod)) => {
                    if pod.metadata.uid.as_ref() != Some(&self.uid) {
                        return gone(last.as_ref());
                    }
                    if let Some(diagnosis) = words.death(&pod, &self.container_id) {
                        return diagnosis;
                    }
                    listed = true;
                    last = Some(pod);
                }
                Ok(Event::InitDone) if !listed => return gone(last.as_ref()),
                Ok(Event::InitDone) => {}
                Ok(Event::Delete(pod)) => {
                    return words.death(&pod, &self.container_id).unwrap_or_else(|| gone(Some(&pod)));
                }
                Err(error) => tracing::debug!(%error, pod = self.name, "cannot watch the daemon"),
            }
        }
    }
}

impl DeploymentWords {
    /// Explains why its container in `pod` cannot run that Kubernetes starts again and again.
    pub(crate) fn crash_loop(&self, pod: &Pod) -> Option<Trouble> {
        let status = status_of(pod, self.container)?;
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        (waiting.reason.as_deref() == Some("CrashLoopBackOff")).then_some(())?;
        let terminated = status.last_state.as_ref()?.terminated.as_ref()?;
        let diagnosis = match self.end_of(pod, &status.name, terminated) {
            diagnosis if diagnosis.cause == Cause::OutOfMemory => diagnosis,
            _ => {
                let last_words = self.last_words(terminated.message.as_deref().unwrap_or_default());
                let (name, code) = (name_of(pod), terminated.exit_code);
                let message = format!("{name} ends with exit code {code}: {last_words}");
                let message = message.trim_end_matches([':', ' ']).to_owned();
                Diagnosis::of(Cause::Start, ErrorKind::BuilderStart, message, &self.remedies)
            }
        };
        // A container that ended as soon as it had started does so again. One that had run may well run on.
        let grace = if has_run(terminated) { BACK_OFF_GRACE } else { Duration::ZERO };
        Some(Trouble { diagnosis: Diagnosis { retryable: false, ..diagnosis }, grace })
    }

    /// Explains why the daemon that ran as `container_id` has ended, if it has. Its container may have been
    /// started again since.
    pub fn death(&self, pod: &Pod, container_id: &str) -> Option<Diagnosis> {
        if let PodState::Killed(diagnosis) = diagnose(pod, self.container, &self.remedies, &[]) {
            return Some(diagnosis);
        }
        let status = status_of(pod, self.container)?;
        let end_of = |state: &ContainerState| {
            state.terminated.as_ref().map(|terminated| self.end_of(pod, self.container, terminated))
        };
        let ended_now = status.state.as_ref().and_then(end_of);
        let replaced = status.container_id.as_deref().is_some_and(|id| id != container_id);
        let ended_before = || {
            status.last_state.as_ref().and_then(end_of).or_else(|| {
                Some(deleted(pod.metadata.namespace.as_deref()?, pod.metadata.name.as_deref()?, Some(pod)))
            })
        };
        ended_now.or_else(|| if replaced { ended_before() } else { None })
    }

    fn end_of(&self, pod: &Pod, container: &str, terminated: &ContainerStateTerminated) -> Diagnosis {
        // As it was when it ended.
        let mut then = pod.clone();
        for status in then.status.iter_mut().flat_map(|status| status.container_statuses.iter_mut().flatten())
        {
            if status.name == container {
                status.state = Some(ContainerState {
                    terminated: Some(terminated.clone()),
                    ..ContainerState::default()
                });
            }
        }
        if let PodState::Killed(diagnosis) = diagnose(&then, container, &self.remedies, &[]) {
            return diagnosis;
        }
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let last_words = self.last_words(terminated.message.as_deref().unwrap_or_default());
        let (what, code) = (self.what, terminated.exit_code);
        let message = format!("{what} in Pod {name} ended with exit code {code}: {last_words}");
        let hint = if pod.metadata.deletion_timestamp.is_some() {
            Remedy::build_again("it was told to stop, and its time to finish builds was up; build again")
        } else if last_words.is_empty() {
            Remedy::build_again("build again")
        } else {
            self.ended
        };
        Diagnosis::other(ErrorKind::BuilderLost, message.trim_end_matches([':', ' ']), hint).retryable()
    }

    /// Picks from the end of its log what explains its end. What it says at every start does not.
    fn last_words<'a>(&self, log: &'a str) -> &'a str {
        let ordinary = ["level=info", "level=warning", "level=debug"];
        let mut lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
        let complaint =
            self.complaint.and_then(|beginning| lines.clone().find(|line| line.starts_with(beginning)));
        let is_ordinary = |line: &str| ordinary.iter().any(|level| line.contains(level));
        complaint.or_else(|| lines.rfind(|line| !is_ordinary(line))).unwrap_or_default()
    }
}

/// Whether a container ran for longer than one takes to find that it cannot.
fn has_run(terminated: &ContainerStateTerminated) -> bool {
    let (Some(started), Some(finished)) = (&terminated.started_at, &terminated.finished_at) else {
        return false;
    };
    Duration::try_from(finished.0.duration_since(started.0)).is_ok_and(|ran| ran >= FIRST_BACK_OFF)
}

/// Whether the container serves, whatever else the cluster has put into its pod.
pub(crate) fn serves(pod: &Pod, container: &str) -> bool {
    status_of(pod, container).is_some_and(|status| status.ready) && !is_on_lost_node(pod)
}

/// Whether the container has ended for good in a pod that is stopping, while another one in it goes on.
pub(crate) fn is_outlived(pod: &Pod, container: &str) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let goes_on = |status: &ContainerStatus| {
        status.name != container && status.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    let has_ended =
        |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    let stops = pod.metadata.deletion_timestamp.is_some();
    let is_held = statuses.unwrap_or_default().iter().any(goes_on);
    stops && is_held && status_of(pod, container).is_some_and(has_ended)
}

/// As long as the container with its startup probe runs, it is ready, and so is the pod. If it is not, the cluster has
/// lost its node, and only waits before it says so by deleting the pod.
pub(crate) fn is_on_lost_node(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    // The kubelet of a lost node can no longer say that they are not.
    let all_are_ready = containers.unwrap_or_default().iter().all(|status| status.ready);
    let mut conditions = conditions.unwrap_or_default().iter();
    all_are_ready && conditions.any(|condition| condition.type_ == "Ready" && condition.status != "True")
}

pub(crate) fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|status| status.name == container)
}

#[cfg(test)]
pub(crate) mod tests;
