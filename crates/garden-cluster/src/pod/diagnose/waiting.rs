//! What a container waits for that waits longer than it should.

use std::time::Duration;

use garden_build_core::ErrorKind;
use garden_build_core::words::has_part;
use garden_registry::told_refusal;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::{ADDED, MOUNT_GRACE, pod_name};
use crate::diagnosis::{Cause, Diagnosis, Remedies, Trouble};

/// How long pulling an image may fail in a way that may pass, such as a time-out: the kubelet tries again after ten seconds.
pub(super) const PULL_GRACE: Duration = Duration::from_secs(25);

/// How long an init container may fail: the kubelet starts it again after ten seconds and after twenty, and what it waits for,
/// such as a mesh's own service, may be there by then.
const INIT_GRACE: Duration = Duration::from_secs(30);

/// What a container waits for.
enum Waits<'s> {
    ForImage { what: &'static str, message: &'s str, grace: Duration },
    ForStart { reason: &'s str, message: &'s str },
}

impl<'s> Waits<'s> {
    /// Source of the words: Kubernetes 1.34, `pkg/kubelet/images/types.go`, `pkg/kubelet/container/sync_result.go` and
    /// `pkg/kubelet/kuberuntime/kuberuntime_container.go`.
    fn of(status: &'s ContainerStatus) -> Option<Self> {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let message = waiting.message.as_deref().unwrap_or_default();
        match reason {
            "InvalidImageName" | "ErrImageNeverPull" => {
                Some(Self::ForImage { what: "use", message, grace: Duration::ZERO })
            }
            "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" => {
                Some(Self::ForImage { what: "pull", message, grace: pull_grace(message) })
            }
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "CrashLoopBackOff" => Some(Self::ForStart { reason, message }),
            _ => None,
        }
    }
}

/// Describes what keeps the container from starting that does the pod's work.
pub(super) fn own_trouble(pod: &Pod, status: &ContainerStatus, remedies: &Remedies) -> Option<Trouble> {
    let name = pod_name(pod);
    let (diagnosis, grace) = match Waits::of(status)? {
        Waits::ForImage { what, message, grace } => {
            let message = format!("{name} cannot {what} the image `{}`: {message}", status.image);
            (Diagnosis::of(Cause::ImagePull, ErrorKind::ImagePull, message, remedies), grace)
        }
        Waits::ForStart { reason, message } => {
            let message = format!("{name} could not be started ({reason}): {message}");
            (Diagnosis::of(Cause::Start, ErrorKind::BuilderStart, message, remedies), MOUNT_GRACE)
        }
    };
    Some(trouble(diagnosis, grace))
}

/// What may pass by itself may have passed when it is tried again.
fn trouble(diagnosis: Diagnosis, grace: Duration) -> Trouble {
    Trouble { diagnosis: if grace.is_zero() { diagnosis } else { diagnosis.retryable() }, grace }
}

/// Explains why an init container keeps the pod from starting. None is ours. Kubernetes starts one that failed again, after ever
/// longer times. While it runs for the second time, it may be about to succeed. One that has failed twice keeps failing.
pub(super) fn init_trouble(pod: &Pod, status: &ContainerStatus) -> Option<Trouble> {
    let state = status.state.as_ref();
    let is_done = state.and_then(|state| state.terminated.as_ref()).is_some_and(|end| end.exit_code == 0);
    // One that goes on beside the others lets them start when it has started.
    let is_running = state.is_some_and(|state| state.running.is_some());
    let goes_on = status.started == Some(true) && is_running;
    if is_done || goes_on {
        return None;
    }
    let (name, init) = (pod_name(pod), &status.name);
    let last = status.last_state.as_ref().filter(|_| !is_running || status.restart_count >= 2);
    let failed = failure(state).or_else(|| failure(last));
    let (kind, what, grace) = match (failed, Waits::of(status)) {
        (Some(end), _) => {
            let said = end.message.as_deref().unwrap_or_default().trim();
            let what = format!("its init container `{init}` fails with exit code {}: {said}", end.exit_code);
            (ErrorKind::BuilderStart, what.trim_end_matches([':', ' ']).to_owned(), INIT_GRACE)
        }
        (None, Some(Waits::ForImage { what, message, grace })) => {
            let what =
                format!("its init container `{init}` cannot {what} the image `{}`: {message}", status.image);
            (ErrorKind::ImagePull, what, grace)
        }
        (None, Some(Waits::ForStart { reason, message })) => {
            let what =
                format!("its init container `{init}` could not be started either ({reason}): {message}");
            (ErrorKind::BuilderStart, what, INIT_GRACE)
        }
        (None, None) => return None,
    };
    let diagnosis = Diagnosis::other(kind, format!("{name} could not be started: {what}"), ADDED);
    Some(trouble(diagnosis, grace))
}

/// Returns how a container failed, if this is the end of one that did.
fn failure(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref().filter(|end| end.exit_code != 0)
}

/// How long a pull may fail. Registries that answered with a definite no will not change their mind within a build.
fn pull_grace(message: &str) -> Duration {
    let is_final = told_refusal(message).is_some() || has_part(message, "invalid reference format");
    if is_final { Duration::ZERO } else { PULL_GRACE }
}
