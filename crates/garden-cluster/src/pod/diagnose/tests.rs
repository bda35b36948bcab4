#![expect(clippy::needless_pass_by_value, reason = "statuses are written where they are used")]

use serde_json::{Value, json};

use super::*;
use crate::diagnosis::tests::REMEDIES;

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "kaniko-api", "namespace": "demo" },
        "spec": { "containers": [
            // The cluster may put its own before ours.
            { "name": "istio-proxy", "resources": { "limits": { "memory": "1Gi" } } },
            { "name": "kaniko", "resources": { "limits": { "memory": "64Mi" } } },
        ] },
        "status": status,
    }))
    .expect("a pod")
}

fn container(state: Value) -> Value {
    json!({ "containerStatuses": [{
        "name": "kaniko", "image": "example/kaniko", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    }] })
}

fn event(reason: &str, message: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "reason": reason, "message": message,
    }))
    .expect("an event")
}

fn stuck(status: Value, events: &[Event]) -> Trouble {
    match diagnose(&pod(status), "kaniko", &REMEDIES, events) {
        PodState::Stuck(trouble) => trouble,
        other => panic!("not stuck: {other:?}"),
    }
}

fn killed(status: Value) -> Diagnosis {
    match diagnose(&pod(status), "kaniko", &REMEDIES, &[]) {
        PodState::Killed(diagnosis) => diagnosis,
        other => panic!("not killed: {other:?}"),
    }
}

fn unschedulable() -> Value {
    json!({ "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    }] })
}

#[test]
fn a_new_pod_waits_for_a_node() {
    assert_eq!(diagnose(&pod(json!({})), "kaniko", &REMEDIES, &[]), PodState::Starting("a node"));
}

#[test]
fn unschedulable_names_the_scheduler_s_reason_and_the_remedy_of_whoever_made_the_pod() {
    let trouble = stuck(unschedulable(), &[]);
    assert_eq!(trouble.diagnosis.kind, ErrorKind::Unschedulable);
    assert!(trouble.diagnosis.message.contains("didn't match Pod's node affinity/selector"));
    assert_eq!(trouble.diagnosis.hint_text(), Some(REMEDIES.scheduling.text()));
    assert_eq!(trouble.grace, SCHEDULING_GRACE);
}

#[test]
fn an_announced_node_is_waited_for() {
    let trouble = stuck(unschedulable(), &[event("TriggeredScaleUp", "pod triggered scale-up")]);
    assert_eq!(trouble.grace, SCALE_UP_GRACE);
}

#[test]
fn a_missing_image_is_final_at_once_and_an_unreachable_registry_is_not() {
    for (message, grace) in [
        ("rpc error: example/kaniko: not found", Duration::ZERO),
        ("failed to authorize: 401 Unauthorized", Duration::ZERO),
        // CRI-O
        ("Requesting bearer token: invalid status code from registry 403 (Forbidden)", Duration::ZERO),
        ("failed to resolve reference \"r.example/denied:1\": dial tcp: i/o timeout", waiting::PULL_GRACE),
    ] {
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            let trouble =
                stuck(container(json!({ "waiting": { "reason": reason, "message": message } })), &[]);
            assert_eq!(trouble.diagnosis.kind, ErrorKind::ImagePull);
            assert_eq!(trouble.grace, grace, "{message}");
            assert!(trouble.diagnosis.message.contains("example/kaniko"));
        }
    }
}

fn init(state: Value, last: Value) -> Value {
    json!({ "initContainerStatuses": [{
        "name": "istio-init", "image": "example/init", "imageID": "", "ready": false, "restartCount": 1,
        "state": state, "lastState": last,
    }] })
}

#[test]
fn an_init_container_that_cannot_be_pulled_is_seen_and_our_image_is_not_blamed() {
    let waiting = json!({ "waiting": { "reason": "InvalidImageName", "message": "bad" } });
    let diagnosis = stuck(init(waiting, json!({})), &[]).diagnosis;
    assert_eq!((diagnosis.kind, diagnosis.hint_text()), (ErrorKind::ImagePull, Some(ADDED)));
    assert!(diagnosis.message.contains("`istio-init` cannot use the image `example/init`"), "{diagnosis}");
    assert!(!diagnosis.retryable, "{diagnosis}");
}

#[test]
fn an_init_container_that_fails_is_named_while_it_is_tried_again_too() {
    let failed = || json!({ "terminated": { "exitCode": 2, "reason": "Error", "message": "no iptables\n" } });
    for (state, last) in [
        (failed(), json!({})),
        (json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } }), failed()),
    ] {
        let trouble = stuck(init(state, last), &[]);
        assert_eq!(trouble.grace, Duration::from_secs(30));
        assert!(trouble.diagnosis.retryable, "what it waits for may come");
        assert_eq!(trouble.diagnosis.hint_text(), Some(ADDED));
        let message = trouble.diagnosis.message;
        assert!(
            message.ends_with("init container `istio-init` fails with exit code 2: no iptables"),
            "{message}"
        );
    }
    let done = init(json!({ "terminated": { "exitCode": 0 } }), failed());
    assert!(matches!(diagnose(&pod(done), "kaniko", &REMEDIES, &[]), PodState::Starting(_)));
}

#[test]
fn an_init_container_may_fail_once_and_then_take_its_time() {
    let mut again = init(json!({ "running": {} }), json!({ "terminated": { "exitCode": 2 } }));
    assert!(matches!(diagnose(&pod(again.clone()), "kaniko", &REMEDIES, &[]), PodState::Starting(_)));
    again["initContainerStatuses"][0]["restartCount"] = json!(2);
    assert_eq!(stuck(again, &[]).grace, Duration::from_secs(30));
}

#[test]
fn what_the_cluster_has_put_beside_our_container_has_no_say() {
    let mut status = container(json!({ "waiting": { "reason": "ContainerCreating" } }));
    let mut beside = status["containerStatuses"][0].clone();
    beside["name"] = json!("istio-proxy");
    beside["state"] = json!({ "waiting": { "reason": "ErrImagePull", "message": "proxy: not found" } });
    status["containerStatuses"].as_array_mut().expect("a list").insert(0, beside);
    assert!(matches!(diagnose(&pod(status), "kaniko", &REMEDIES, &[]), PodState::Starting(_)));
}

#[test]
fn out_of_memory_is_named_with_the_limit() {
    let diagnosis = killed(container(json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } })));
    assert_eq!(diagnosis.kind, ErrorKind::OutOfMemory);
    assert!(diagnosis.message.contains("limit: 64Mi"), "{diagnosis}");
}

#[test]
fn exit_137_without_the_runtime_s_word_is_not_called_out_of_memory() {
    let status = container(json!({ "terminated": { "exitCode": 137, "reason": "Error" } }));
    let state = diagnose(&pod(status), "kaniko", &REMEDIES, &[]);
    assert_eq!(state, PodState::Exited { exit_code: 137, message: String::new() });
}

#[test]
fn eviction_wins_over_what_the_container_says() {
    let mut status = container(json!({ "terminated": { "exitCode": 137, "reason": "Error" } }));
    status["reason"] = json!("Evicted");
    status["message"] = json!("The node was low on resource: ephemeral-storage.");
    let diagnosis = killed(status);
    assert_eq!(diagnosis.kind, ErrorKind::Evicted);
    assert!(diagnosis.retryable);
    assert!(diagnosis.message.contains("ephemeral-storage"));
}

/// As Kubernetes 1.34 says it.
#[test]
fn an_eviction_for_a_limit_of_its_own_is_not_tried_again_and_blames_the_limit() {
    let evicted =
        |message: &str| killed(json!({ "phase": "Failed", "reason": "Evicted", "message": message }));
    for message in [
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        "Container kaniko exceeded its local ephemeral storage limit \"1Gi\". ",
        "Usage of EmptyDir volume \"packs\" exceeds the limit \"1Gi\". ",
    ] {
        let diagnosis = evicted(message);
        assert_eq!((diagnosis.cause, diagnosis.retryable), (Cause::DiskLimit, false), "{message}");
        assert_eq!(
            (diagnosis.kind, diagnosis.hint_text()),
            (ErrorKind::Evicted, Some(REMEDIES.disk_limit.text()))
        );
    }
    let low = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 900Mi. Container kaniko was \
               using 3Gi, request is 0, has larger consumption of ephemeral-storage. ";
    assert_eq!((evicted(low).cause, evicted(low).retryable), (Cause::Evicted, true));
    let others = evicted("Container istio-proxy exceeded its local ephemeral storage limit \"1Gi\". ");
    assert_eq!((others.hint_text(), others.retryable), (Some(ADDED), false));
}

#[test]
fn the_cluster_s_deadline_is_a_timeout() {
    assert_eq!(killed(json!({ "reason": "DeadlineExceeded" })).kind, ErrorKind::Timeout);
}

#[test]
fn out_of_memory_in_a_child_that_the_build_survived_is_no_failure() {
    let status =
        container(json!({ "terminated": { "exitCode": 0, "reason": "OOMKilled", "message": "sha256:…" } }));
    assert!(matches!(
        diagnose(&pod(status), "kaniko", &REMEDIES, &[]),
        PodState::Exited { exit_code: 0, .. }
    ));
}

#[test]
fn a_pod_that_its_node_refused_is_not_waited_for() {
    let diagnosis = killed(
        json!({ "phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu" }),
    );
    assert_eq!(diagnosis.kind, ErrorKind::BuilderLost);
    assert!(diagnosis.retryable && diagnosis.message.contains("OutOfcpu"), "{diagnosis}");
}

#[test]
fn a_failed_init_container_is_named() {
    let diagnosis = killed(json!({ "phase": "Failed", "initContainerStatuses": [{
        "name": "sidecar-init", "image": "example/init", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": 3, "reason": "Error" } },
    }] }));
    assert_eq!(diagnosis.kind, ErrorKind::BuilderStart);
    assert!(diagnosis.message.contains("`sidecar-init` failed with exit code 3"), "{diagnosis}");
}

#[test]
fn a_mount_that_worked_at_last_is_no_trouble() {
    let at = |reason: &str, time: &str| -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "reason": reason, "message": "x", "lastTimestamp": time,
        }))
        .expect("an event")
    };
    let failed = at("FailedMount", "2026-01-01T00:00:05Z");
    let events = [at("Pulling", "2026-01-01T00:00:09Z"), failed.clone()];
    assert!(matches!(diagnose(&pod(json!({})), "kaniko", &REMEDIES, &events), PodState::Starting(_)));
    let set_up = json!({ "conditions": [{ "type": "PodReadyToStartContainers", "status": "True" }] });
    assert!(matches!(diagnose(&pod(set_up), "kaniko", &REMEDIES, &[failed]), PodState::Starting(_)));
}

#[test]
fn an_autoscaler_that_cannot_help_ends_the_wait() {
    let trouble = stuck(unschedulable(), &[event("NotTriggerScaleUp", "pod didn't trigger scale-up")]);
    assert_eq!(trouble.grace, Duration::ZERO);
}

#[test]
fn a_volume_that_does_not_mount_is_named() {
    let trouble = stuck(json!({}), &[event("FailedMount", r#"secret "auth" not found"#)]);
    assert_eq!(trouble.diagnosis.kind, ErrorKind::BuilderStart);
    assert!(trouble.diagnosis.message.contains(r#"secret "auth" not found"#));
}

#[test]
fn a_node_without_user_namespaces_is_not_waited_for() {
    for runtime in ["runtime", r#"RuntimeClass handler "kata""#] {
        let message =
            format!("can't set `spec.hostUsers: false`, {runtime} does not support user namespaces");
        let trouble = stuck(json!({}), &[event("FailedCreatePodSandBox", &message)]);
        assert_eq!((trouble.grace, trouble.diagnosis.cause), (Duration::ZERO, Cause::Start));
        assert_eq!(trouble.diagnosis.hint_text(), Some(REMEDIES.start.text()));
    }
}

#[test]
fn running_and_exited_are_told_apart_with_the_termination_message() {
    let running = container(json!({ "running": {} }));
    assert_eq!(diagnose(&pod(running), "kaniko", &REMEDIES, &[]), PodState::Running);
    let exited =
        container(json!({ "terminated": { "exitCode": 0, "reason": "Completed", "message": "sha256:…" } }));
    let state = diagnose(&pod(exited), "kaniko", &REMEDIES, &[]);
    assert_eq!(state, PodState::Exited { exit_code: 0, message: "sha256:…".to_owned() });
}

#[test]
fn a_volume_that_is_being_provisioned_may_take_longer_than_scheduling() {
    let mut status = unschedulable();
    status["conditions"][0]["message"] =
        json!("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    assert_eq!(stuck(status, &[]).grace, VOLUME_GRACE);
}
