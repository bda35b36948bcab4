//! What it means for a build that the conversation with the service has ended early.
//!
//! Why: docs/decisions/36-a-lost-context-service-is-a-lost-builder.md

use std::io;

use garden_build_core::{Error, ErrorKind, Remedy};
use garden_cluster::{Cause, DaemonPod, Diagnosis, last_words};

use super::ContextService;
use super::session::SessionError;

/// Explains what it means that the conversation with the service in `pod` has ended early.
pub(super) async fn explain(service: &ContextService, pod: &DaemonPod, error: SessionError) -> Error {
    let namespace = service.namespace();
    let who = format!("the context service, Pod {namespace}/{}", pod.name);
    match error {
        SessionError::Ours(error) => error,
        SessionError::Full => Error::new(
            ErrorKind::BuilderStart,
            format!("the build context does not fit into the volume of {who}, even without those that no build uses"),
        )
        .with_hint(Remedy::set_and_install(
            &["storage.sync.size"],
            "set `storage.sync.size` to more and install again (`init`); without `storage.sync`, it is the disk of its node \
             that is full. Or leave out of the context what no step needs, by `.dockerignore`",
        )),
        SessionError::Damaged => Error::new(
            ErrorKind::BuilderLost,
            format!("the build context was damaged on its way through {who}"),
        )
        .with_hint(Remedy::build_again("build again"))
        .retryable(),
        SessionError::Broken(_) | SessionError::Silent(_) | SessionError::Unexpected(_) => {
            if let Some(diagnosis) = last_words(service.managed().lost(pod)).await {
                return lost(diagnosis);
            }
            // A connection that broke is made again, and the build with it. One that is silent may stay so.
            let broke = matches!(&error, SessionError::Broken(error) if error.kind() != io::ErrorKind::TimedOut);
            let kind = if broke { ErrorKind::BuilderLost } else { ErrorKind::Unreachable };
            Error::new(kind, format!("the conversation with {who} broke off: {error}"))
                .with_hint(Remedy::build_again("the connection to the cluster broke; build again"))
                .retryable()
        }
    }
}

/// Explains what the end of the service means for the build. It is not the build that took too much memory: another service
/// comes in its place, to which the context is sent again.
fn lost(end: Diagnosis) -> Error {
    match end.cause {
        Cause::OutOfMemory => end.retryable().of_kind(ErrorKind::BuilderLost).into(),
        _ => end.into(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::super::WORDS;
    use super::*;

    fn end(status: &Value) -> Error {
        let metadata = json!({ "name": "garden-util-1", "namespace": "demo", "uid": "uid" });
        let pod: Pod =
            serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("a pod");
        lost(WORDS.death(&pod, "containerd://1").expect("dead"))
    }

    #[test]
    fn a_service_that_ran_out_of_memory_is_made_up_for_and_its_own_memory_is_the_remedy() {
        let error = end(&json!({ "phase": "Running", "containerStatuses": [{
            "name": WORDS.container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "containerID": "containerd://1", "state": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
        }] }));
        assert_eq!(error.kind(), ErrorKind::BuilderLost, "a build with this end begins again");
        assert!(error.is_retryable() && error.message().contains("ran out of memory"), "{error}");
        let hint = error.hint().expect("a hint");
        assert!(
            hint.contains("resources.util.limits.memory") && !hint.contains("resources.builder"),
            "{hint}"
        );
    }

    #[test]
    fn an_evicted_service_is_made_up_for_and_its_own_requests_are_the_remedy() {
        let error = end(&json!({ "phase": "Failed", "reason": "Evicted", "message": "low on disk" }));
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Evicted, true));
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("resources.util.requests") && !hint.contains("resources.builder"), "{hint}");
    }
}
