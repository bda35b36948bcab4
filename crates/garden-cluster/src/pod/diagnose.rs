// Why: docs/decisions/59-stuck-pods-are-named-in-seconds.md

use std::time::Duration;

use garden_build_core::ErrorKind;
use garden_build_core::words::fits;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use k8s_openapi::jiff::Timestamp;

use crate::diagnosis::{Cause, Diagnosis, Lack, Remedies, Trouble, waits_for_volume};

mod waiting;

use self::waiting::{init_trouble, own_trouble};

/// How long a pod may be unschedulable before the build fails: long enough for a scheduler that is
/// only busy, and for an autoscaler, which looks every ten seconds, to say that it adds a node.
const SCHEDULING_GRACE: Duration = Duration::from_secs(12);

/// How long a volume that is being provisioned may keep a pod unschedulable: disks of clouds take
/// half a minute.
const VOLUME_GRACE: Duration = Duration::from_secs(90);

/// How long mounting volumes may fail: the kubelet retries, and a secret may arrive after its pod.
pub(super) const MOUNT_GRACE: Duration = Duration::from_secs(30);

/// What to do about a container that none of ours is.
pub(super) const ADDED: &str = "the cluster has added this container; ask its operator";

/// How long an autoscaler may take to add a node.
const SCALE_UP_GRACE: Duration = Duration::from_secs(15 * 60);

/// How far a pod has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PodState {
    /// It has not started yet, and nothing is known to be wrong. The text says what it waits for.
    Starting(&'static str),
    /// It has not started yet, and something is in its way.
    Stuck(Trouble),
    /// The container runs.
    Running,
    /// The container ended by itself.
    Exited {
        /// The container's exit code.
        exit_code: i32,
        /// What the container left as its termination message.
        message: String,
    },
    /// The cluster ended the pod.
    Killed(Diagnosis),
}

/// Describes how far the pod has come, from its status and from the events about it.
///
/// Looks at `container`, which does the pod's work, and at init containers, without which it does not start. Others, which the
/// cluster may have added, have no say. What to do about a trouble that depends on how the pod was made, `remedies` have.
pub(crate) fn diagnose(pod: &Pod, container: &str, remedies: &Remedies, events: &[Event]) -> PodState {
    let status = pod.status.clone().unwrap_or_default();
    let named = |what: &str| format!("{} {what}", pod_name(pod));
    let reason = status.reason.as_deref().unwrap_or_default();
    let message = status.message.as_deref().unwrap_or_default();

    // The pod's own end comes before its containers': an evicted pod's containers may say anything.
    match reason {
        "Evicted" => return PodState::Killed(evicted(pod, container, message, remedies)),
        "DeadlineExceeded" => {
            return PodState::Killed(Diagnosis::other(
                ErrorKind::Timeout,
                named("was stopped by the cluster at its deadline"),
                "raise the request's timeout if the build needs longer",
            ));
        }
        "NodeLost" | "NodeShutdown" | "Terminated" | "Preempting" | "Shutdown" => {
            return PodState::Killed(
                Diagnosis::other(
                    ErrorKind::BuilderLost,
                    named(&format!("was stopped with its node ({reason}): {message}")),
                    "build again",
                )
                .retryable(),
            );
        }
        _ => {}
    }

    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    let main = status.container_statuses.as_deref().unwrap_or_default();
    let own = || main.iter().filter(|found| found.name == container);
    for container_status in own() {
        if let Some(ended) = ended(pod, container_status, remedies) {
            return ended;
        }
        let running = container_status.state.as_ref().is_some_and(|state| state.running.is_some());
        if running {
            return PodState::Running;
        }
    }
    if status.phase.as_deref() == Some("Failed") {
        return PodState::Killed(never_ran(pod, init, reason, message));
    }
    let of_init = init.iter().find_map(|status| init_trouble(pod, status));
    if let Some(trouble) = of_init.or_else(|| own().find_map(|status| own_trouble(pod, status, remedies))) {
        return PodState::Stuck(trouble);
    }
    if let Some(trouble) =
        scheduling_trouble(pod, remedies, events).or_else(|| mount_trouble(pod, remedies, events))
    {
        return PodState::Stuck(trouble);
    }
    let scheduled = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    PodState::Starting(if scheduled { "its node to pull the image and start it" } else { "a node" })
}

/// Explains why a pod is gone, or about to go, that was building; `last` is what was last seen of it.
///
/// Drains, preemption and taints delete a pod as well, and say so in a condition.
/// Source: Kubernetes, "Disruptions", section "Pod disruption conditions".
pub(crate) fn deleted(namespace: &str, name: &str, last: Option<&Pod>) -> Diagnosis {
    let name = format!("Pod {namespace}/{name}");
    let conditions = last.and_then(|pod| pod.status.as_ref()?.conditions.as_deref());
    let disruption = conditions
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    let (kind, message) = match disruption {
        Some(condition) => {
            let reason = condition.reason.as_deref().unwrap_or_default();
            let message = condition.message.as_deref().unwrap_or_default();
            (ErrorKind::Evicted, format!("{name} was taken from its node ({reason}): {message}"))
        }
        None => {
            (ErrorKind::BuilderLost, format!("{name} was deleted by somebody else while it was building"))
        }
    };
    Diagnosis::other(kind, message, "build again").retryable()
}

fn ended(pod: &Pod, status: &ContainerStatus, remedies: &Remedies) -> Option<PodState> {
    let terminated = status.state.as_ref()?.terminated.as_ref()?;
    let reason = terminated.reason.as_deref().unwrap_or_default();
    let message = terminated.message.clone().unwrap_or_default();
    let name = pod_name(pod);
    Some(match reason {
        // containerd says so too when only a child was killed and the container went on and succeeded.
        "OOMKilled" if terminated.exit_code != 0 => PodState::Killed(Diagnosis::of(
            Cause::OutOfMemory,
            ErrorKind::OutOfMemory,
            format!("{name} ran out of memory{}", memory_limit(pod, &status.name)),
            remedies,
        )),
        // The runtime could not even start the process.
        "StartError" | "ContainerCannotRun" => PodState::Killed(Diagnosis::of(
            Cause::Start,
            ErrorKind::BuilderStart,
            format!("{name} could not be started: {message}"),
            remedies,
        )),
        "ContainerStatusUnknown" => PodState::Killed(
            Diagnosis::other(ErrorKind::BuilderLost, format!("{name} was lost with its node"), "build again")
                .retryable(),
        ),
        _ => PodState::Exited { exit_code: terminated.exit_code, message },
    })
}

/// A pod that failed although its container has no end: the kubelet refused it (out of CPU, memory or
/// pods after all), or an init container failed.
fn never_ran(pod: &Pod, init: &[ContainerStatus], reason: &str, message: &str) -> Diagnosis {
    let name = pod_name(pod);
    let failed_init = init.iter().find_map(|status| {
        let terminated = status.state.as_ref()?.terminated.as_ref()?;
        (terminated.exit_code != 0).then_some((&status.name, terminated.exit_code))
    });
    match failed_init {
        Some((init, exit_code)) => Diagnosis::other(
            ErrorKind::BuilderStart,
            format!(
                "{name} could not be started: its init container `{init}` failed with exit code {exit_code}"
            ),
            ADDED,
        ),
        None => Diagnosis::other(
            ErrorKind::BuilderLost,
            format!("{name} was refused by its node ({reason}): {message}"),
            "build again",
        )
        .retryable(),
    }
}

/// Explains why the pod was evicted: for a limit of its own, which another try would reach as well, or for what its node lacked.
///
/// Source of the words: Kubernetes 1.34, `pkg/kubelet/eviction/helpers.go`.
fn evicted(pod: &Pod, container: &str, message: &str, remedies: &Remedies) -> Diagnosis {
    let what = format!("{} was evicted from its node: {message}", pod_name(pod));
    let of_container = message.strip_prefix("Container ").and_then(|rest| {
        let (name, rest) = rest.split_once(' ')?;
        rest.starts_with("exceeded its local ephemeral storage limit ").then_some(name)
    });
    let of_pod = message
        .starts_with("Pod ephemeral local storage usage exceeds the total limit of containers ")
        || fits(message, &["Usage of EmptyDir volume \"", "\" exceeds the limit \""]);
    match of_container {
        Some(name) if name != container => Diagnosis::other(ErrorKind::Evicted, what, ADDED),
        Some(_) => Diagnosis::of(Cause::DiskLimit, ErrorKind::Evicted, what, remedies),
        None if of_pod => Diagnosis::of(Cause::DiskLimit, ErrorKind::Evicted, what, remedies),
        None => Diagnosis::of(Cause::Evicted, ErrorKind::Evicted, what, remedies).retryable(),
    }
}

fn scheduling_trouble(pod: &Pod, remedies: &Remedies, events: &[Event]) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let unscheduled = conditions.iter().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    // Cluster Autoscaler and Karpenter announce the node that they are about to add, or that none
    // would help.
    let message = unscheduled.message.as_deref().unwrap_or_default();
    let announced = |reasons: &[&str]| events.iter().any(|event| tells_of(event, reasons));
    let grace = if announced(&["TriggeredScaleUp", "Nominated"]) {
        SCALE_UP_GRACE
    } else if waits_for_volume(message) {
        VOLUME_GRACE
    } else if announced(&["NotTriggerScaleUp"]) {
        Duration::ZERO
    } else {
        SCHEDULING_GRACE
    };
    Some(Trouble {
        diagnosis: Diagnosis::of(
            Cause::Unschedulable(Lack::of(message)),
            ErrorKind::Unschedulable,
            format!("no node can take {}: {message}", pod_name(pod)),
            remedies,
        ),
        grace,
    })
}

/// Events stay when what they tell of has passed, so only one with nothing better after it counts.
fn mount_trouble(pod: &Pod, remedies: &Remedies, events: &[Event]) -> Option<Trouble> {
    let latest = |reasons: &[&str]| {
        events.iter().filter(|event| tells_of(event, reasons)).max_by_key(|event| last_seen(event))
    };
    let event = latest(&["FailedMount", "FailedCreatePodSandBox"])?;
    let progress = latest(&["Pulling", "Pulled", "Created", "Started"]);
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let is_set_up = conditions
        .iter()
        .any(|condition| condition.type_ == "PodReadyToStartContainers" && condition.status == "True");
    if is_set_up || progress.is_some_and(|progress| last_seen(progress) >= last_seen(event)) {
        return None;
    }
    let reason = event.reason.as_deref().unwrap_or_default();
    let message = event.message.as_deref().unwrap_or_default();
    let text = format!("{} could not be started ({reason}): {message}", pod_name(pod));
    if lacks_user_namespaces(message) {
        let diagnosis = Diagnosis::of(Cause::Start, ErrorKind::BuilderStart, text, remedies);
        return Some(Trouble { diagnosis, grace: Duration::ZERO });
    }
    let hint = "this is the node's or its network's own trouble; ask the cluster's operator";
    let diagnosis = Diagnosis::other(ErrorKind::BuilderStart, text, hint);
    Some(Trouble { diagnosis, grace: MOUNT_GRACE })
}

/// Whether the node cannot give a pod a user namespace of its own, and never will.
/// Source of the words: Kubernetes 1.34, `pkg/kubelet/userns/userns_manager.go`.
fn lacks_user_namespaces(message: &str) -> bool {
    message.contains("does not support user namespaces")
}

/// Returns the message of the latest event with this reason.
pub(crate) fn latest_message<'a>(events: &'a [Event], reason: &str) -> Option<&'a str> {
    let told = events.iter().filter(|event| tells_of(event, &[reason]));
    told.max_by_key(|event| last_seen(event))?.message.as_deref()
}

fn tells_of(event: &Event, reasons: &[&str]) -> bool {
    event.reason.as_deref().is_some_and(|reason| reasons.contains(&reason))
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series =
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    series.or(last).or(event.event_time.as_ref().map(|time| time.0))
}

fn memory_limit(pod: &Pod, container: &str) -> String {
    let limit = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.iter().find(|found| found.name == container))
        .and_then(|container| container.resources.as_ref())
        .and_then(|resources| resources.limits.as_ref())
        .and_then(|limits| limits.get("memory"));
    limit.map(|limit| format!(" (limit: {})", limit.0)).unwrap_or_default()
}

fn pod_name(pod: &Pod) -> String {
    crate::api::name_of(pod)
}

#[cfg(test)]
mod tests;
