//! Pods that could not pull their image, for want of a Secret that is there now.

use garden_build_core::{EventSink, WarningCode};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::api::{Cluster, name_of};
use crate::service::living;

/// Ends those of `pods` that have not started and could not pull an image, so that others take their place, which try at once. For the
/// same pod, a node tries again after ever longer times, five minutes at most.
/// Source: Kubernetes 1.34, `pkg/kubelet/images/image_manager.go` and `MaxImageBackOff` in `pkg/kubelet/kubelet.go`.
///
/// A user who may not delete pods has to wait for that, as `events` hear.
pub(crate) async fn end(cluster: &Cluster, namespace: &str, pods: &[Pod], events: &EventSink) {
    for pod in living(pods).into_iter().filter(|pod| is_unpulled(pod)) {
        let metadata = &pod.metadata;
        let (Some(name), Some(uid)) = (&metadata.name, &metadata.uid) else { continue };
        match cluster.end_soon(namespace, name, uid).await {
            Err(error) if error.code() != Some(404) => {
                let message = format!(
                    "{} could not pull its image before, and cannot be ended for another one that tries at once: {error}",
                    name_of(pod)
                );
                let hint = "its node tries again within five minutes; do the same again then";
                events.warn(WarningCode::PodNotReplaced, message, Some(hint.to_owned()));
            }
            _ => events.log(format!("{} could not pull its image before, and is replaced", name_of(pod))),
        }
    }
}

/// Source of the words: Kubernetes 1.34, `pkg/kubelet/images/types.go`.
fn is_unpulled(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let statuses = statuses.unwrap_or_default();
    let runs = |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    let waits = |status: &ContainerStatus| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
        matches!(reason, Some("ErrImagePull" | "ImagePullBackOff"))
    };
    !statuses.iter().any(runs) && statuses.iter().any(waits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(states: &[Value]) -> Pod {
        let container = |state: &Value| json!({ "name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        let statuses: Vec<Value> = states.iter().map(container).collect();
        serde_json::from_value(json!({ "status": { "containerStatuses": statuses } })).expect("a pod")
    }

    #[test]
    fn only_a_pod_that_has_not_started_for_want_of_an_image_makes_way() {
        let waits = |reason: &str| json!({ "waiting": { "reason": reason } });
        let runs = json!({ "running": {} });
        assert!(is_unpulled(&pod(&[waits("ErrImagePull")])));
        assert!(is_unpulled(&pod(&[waits("ContainerCreating"), waits("ImagePullBackOff")])));
        // A sidecar that cannot be pulled does not end builds.
        assert!(!is_unpulled(&pod(&[runs, waits("ImagePullBackOff")])));
        for reason in ["ContainerCreating", "CrashLoopBackOff", "InvalidImageName"] {
            assert!(!is_unpulled(&pod(&[waits(reason)])), "{reason}");
        }
        assert!(!is_unpulled(&pod(&[])));
    }
}
