use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::super::words::tests::WORDS;
use super::*;
use crate::diagnosis::{Cause, Diagnosis};
use crate::ownership::{MANAGED_BY_LABEL, MANAGER};
use crate::service::rollout;

const NAME: &str = InClusterRegistry::NAME;

fn registry(deployment: &Deployment, pods: &[Pod], events: &[Event]) -> Outlook<()> {
    rollout::outlook(&WORDS.registry, deployment, pods, events, |_| Some(()))
}

fn proxies(daemon_set: &DaemonSet, pods: &[Pod], events: &[Event]) -> Outlook<()> {
    super::proxies(&WORDS, daemon_set, pods, events)
}

fn foreign(what: &str, metadata: &ObjectMeta) -> Option<Diagnosis> {
    judge::foreign(&WORDS.registry, what, metadata)
}

fn pod(name: &str, created: &str, status: &Value) -> Pod {
    let metadata = json!({ "name": name, "namespace": "garden-system", "creationTimestamp": created });
    serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("a pod")
}

/// A pod whose containers are ready: one as the registry has it, and one as its proxies do.
fn ready(name: &str) -> Pod {
    let container =
        |name: &str| json!({ "name": name, "ready": true, "restartCount": 0, "image": "", "imageID": "" });
    let status = json!({
        "conditions": [{ "type": "Ready", "status": "True" }],
        "containerStatuses": [container("registry"), container("proxy")],
    });
    pod(name, "2026-01-01T00:00:00Z", &status)
}

/// Such a pod, and a container that the cluster has added and that never gets ready.
fn beside_a_sidecar(name: &str) -> Pod {
    let mut value = serde_json::to_value(ready(name)).expect("serialises");
    let mut sidecar = value["status"]["containerStatuses"][0].clone();
    (sidecar["name"], sidecar["ready"]) = (json!("istio-proxy"), json!(false));
    value["status"]["containerStatuses"].as_array_mut().expect("a list").insert(0, sidecar);
    value["status"]["conditions"][0]["status"] = json!("False");
    serde_json::from_value(value).expect("a pod")
}

fn crashing(exit_code: i32, reason: &str, message: &str, restarts: i32) -> Pod {
    let ended = json!({ "exitCode": exit_code, "reason": reason, "message": message });
    // The first restart is at once; Kubernetes backs off from the second on.
    let (state, last_state) = match restarts {
        0 => (json!({ "terminated": ended }), json!({})),
        _ => (json!({ "waiting": { "reason": "CrashLoopBackOff" } }), json!({ "terminated": ended })),
    };
    let status = json!({ "containerStatuses": [{
        "name": "registry", "ready": false, "restartCount": restarts, "image": "", "imageID": "",
        "state": state, "lastState": last_state,
    }] });
    pod("crashing", "2026-01-01T00:00:00Z", &status)
}

fn unschedulable(message: &str) -> Pod {
    let condition =
        json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message });
    pod("waiting", "2026-01-01T00:00:00Z", &json!({ "phase": "Pending", "conditions": [condition] }))
}

fn deployment(status: &Value) -> Deployment {
    let metadata = json!({ "generation": 2, "namespace": "garden-system", "name": NAME });
    serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("a Deployment")
}

fn rolling_out() -> Deployment {
    deployment(&json!({ "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1 }))
}

fn daemon_set(desired: i32, updated: i32) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": { "generation": 1 },
        "status": {
            "observedGeneration": 1, "desiredNumberScheduled": desired, "updatedNumberScheduled": updated,
            "currentNumberScheduled": desired, "numberMisscheduled": 0, "numberReady": 0,
        },
    }))
    .expect("a DaemonSet")
}

fn event(reason: &str, message: &str) -> Event {
    let event = json!({ "metadata": {}, "involvedObject": {}, "reason": reason, "message": message });
    serde_json::from_value(event).expect("an event")
}

fn trouble(outlook: Outlook<()>) -> Diagnosis {
    match outlook {
        Outlook::Stuck(trouble) => trouble.diagnosis,
        other => panic!("not stuck: {other:?}"),
    }
}

#[test]
fn an_image_without_what_it_is_to_run_is_named_at_once() {
    let said = "failed to create containerd task: OCI runtime create failed: exec: \"sh\": executable file not found in $PATH: unknown";
    let Outlook::Stuck(trouble) = registry(&rolling_out(), &[crashing(128, "StartError", said, 0)], &[])
    else {
        panic!("stuck")
    };
    assert_eq!((trouble.grace, trouble.diagnosis.kind), (Duration::ZERO, ErrorKind::BuilderStart));
    let expected = "its image lacks a program: \"sh\": executable file not found in $PATH: unknown";
    assert!(trouble.diagnosis.message.ends_with(expected), "{}", trouble.diagnosis.message);
    assert_eq!(trouble.diagnosis.hint_text(), Some(WORDS.registry.remedies.start.text()));
    // What a program says itself does not count.
    let waiting = registry(&rolling_out(), &[crashing(1, "Error", said, 0)], &[]);
    assert!(!matches!(waiting, Outlook::Stuck(trouble) if trouble.grace.is_zero()));
}

#[test]
fn what_a_pod_of_former_settings_suffers_from_does_not_count() {
    let before = deployment(&json!({ "observedGeneration": 2, "replicas": 1 }));
    let outlook =
        registry(&before, &[crashing(128, "StartError", "exec: \"sh\": executable file not found", 9)], &[]);
    assert!(matches!(outlook, Outlook::Waiting(_)), "{outlook:?}");
}

#[test]
fn an_object_without_our_label_is_another_program_s() {
    let labelled = |manager: &str| {
        let labels = json!({ "labels": { MANAGED_BY_LABEL: manager } });
        serde_json::from_value::<ObjectMeta>(labels).expect("metadata")
    };
    assert_eq!(foreign("Service a/b", &labelled(MANAGER)), None);
    for other in [labelled("Helm"), ObjectMeta::default()] {
        let message = foreign("Service a/b", &other).expect("foreign").message;
        assert!(message.contains("Service a/b"), "{message}");
    }
}

#[test]
fn the_registry_is_ready_when_its_latest_pod_is_and_the_former_is_gone() {
    let status =
        json!({ "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 });
    assert_eq!(registry(&deployment(&status), &[ready("a")], &[]), Outlook::Ready(()));
    let mut before = status.clone();
    before["observedGeneration"] = json!(1);
    assert!(matches!(registry(&deployment(&before), &[ready("a")], &[]), Outlook::Waiting(_)));

    let mut stopping = ready("a");
    stopping.metadata.deletion_timestamp = stopping.metadata.creation_timestamp.clone();
    let none = deployment(&json!({ "observedGeneration": 2, "replicas": 0 }));
    let Outlook::Waiting(what) = registry(&none, &[stopping], &[]) else { panic!("it waits") };
    assert!(what.contains("former pod"), "{what}");
}

#[test]
fn a_container_that_the_cluster_has_added_keeps_nothing_from_being_ready() {
    assert_eq!(registry(&rolling_out(), &[beside_a_sidecar("a")], &[]), Outlook::Ready(()));
    assert_eq!(proxies(&daemon_set(1, 1), &[beside_a_sidecar("a")], &[]), Outlook::Ready(()));
    // On a node that the cluster has lost, nothing says any more that a container is not ready.
    let mut lost = ready("a");
    let conditions = lost.status.as_mut().and_then(|status| status.conditions.as_mut());
    conditions.expect("conditions")[0].status = "Unknown".to_owned();
    assert!(matches!(registry(&rolling_out(), &[lost], &[]), Outlook::Waiting(_)));
}

#[test]
fn a_claim_without_a_storage_class_is_named_with_its_option() {
    let pod = unschedulable("pod has unbound immediate PersistentVolumeClaims");
    let reason = "no persistent volumes available for this claim and no storage class is set";
    let diagnosis = trouble(registry(&rolling_out(), &[pod], &[event("FailedBinding", reason)]));
    assert!(diagnosis.message.contains(NAME) && diagnosis.message.ends_with(reason), "{diagnosis}");
    assert!(diagnosis.hint_text().is_some_and(|hint| hint.contains("an.option.storageClass")));
}

#[test]
fn troubles_of_a_pod_are_cured_by_the_registry_s_own_options() {
    let pod = unschedulable("0/3 nodes are available: 3 Insufficient memory.");
    let diagnosis = trouble(registry(&rolling_out(), &[pod], &[]));
    assert_eq!(diagnosis.hint_text(), Some("fewer demands on nodes"));

    let pod = unschedulable(
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
    );
    let diagnosis = trouble(proxies(&daemon_set(1, 1), std::slice::from_ref(&pod), &[]));
    assert!(diagnosis.hint_text().is_some_and(|hint| hint.contains("port 5000")));
    // The registry itself has no port of the node.
    let diagnosis = trouble(registry(&rolling_out(), &[pod], &[]));
    assert!(diagnosis.hint_text().is_some_and(|hint| !hint.contains("5000")));
    // And the proxies have nothing of the registry's resources.
    let pod = unschedulable("0/3 nodes are available: 3 Insufficient memory.");
    let diagnosis = trouble(proxies(&daemon_set(3, 3), &[pod], &[]));
    assert_eq!(diagnosis.hint_text(), Some(WORDS.proxy.remedies.scheduling.text()));
}

#[test]
fn a_registry_that_ends_again_and_again_is_quoted() {
    let pod = crashing(1, "Error", "starting\npermission denied\n", 2);
    let diagnosis = trouble(registry(&rolling_out(), &[pod], &[]));
    assert!(diagnosis.message.ends_with("ends with exit code 1: permission denied"), "{diagnosis}");
    let diagnosis = trouble(registry(&rolling_out(), &[crashing(137, "OOMKilled", "", 3)], &[]));
    assert_eq!((diagnosis.cause, diagnosis.kind), (Cause::OutOfMemory, ErrorKind::OutOfMemory));
    assert_eq!(diagnosis.hint_text(), Some("more memory"));
}

#[test]
fn a_refused_pod_says_what_to_allow() {
    for (message, hint) in [
        (r#"pods "a" is forbidden: exceeded quota: small"#, "ResourceQuota"),
        (
            r#"pods "a" is forbidden: violates PodSecurity "baseline:latest": hostPort (container "proxy" uses hostPort 5000)"#,
            "privileged",
        ),
    ] {
        let events = [event("FailedCreate", &format!("Error creating: {message}"))];
        let diagnosis = trouble(proxies(&daemon_set(1, 0), &[], &events));
        assert!(diagnosis.message.ends_with(message), "{diagnosis}");
        assert!(diagnosis.hint_text().is_some_and(|told| told.contains(hint)));

        let condition = json!({ "type": "ReplicaFailure", "status": "True", "message": message });
        let refused = deployment(&json!({ "observedGeneration": 2, "conditions": [condition] }));
        let diagnosis = trouble(registry(&refused, &[], &[]));
        assert!(diagnosis.message.ends_with(message), "{diagnosis}");
        if message.contains("quota") {
            assert_eq!(diagnosis.hint_text(), Some("a smaller registry"));
        }
    }
}

#[test]
fn proxies_are_ready_when_each_node_that_answers_has_one() {
    assert_eq!(proxies(&daemon_set(2, 2), &[ready("a"), ready("b")], &[]), Outlook::Ready(()));
    assert!(matches!(proxies(&daemon_set(2, 1), &[ready("a"), ready("b")], &[]), Outlook::Waiting(_)));
    assert!(matches!(proxies(&daemon_set(2, 2), &[ready("a")], &[]), Outlook::Waiting(_)));

    let mut on_lost_node = ready("b");
    let conditions = on_lost_node.status.as_mut().and_then(|status| status.conditions.as_mut());
    conditions.expect("conditions")[0].status = "Unknown".to_owned();
    assert_eq!(proxies(&daemon_set(2, 2), &[ready("a"), on_lost_node], &[]), Outlook::Ready(()));
}

#[test]
fn a_cluster_whose_nodes_take_no_proxy_is_told() {
    let diagnosis = trouble(proxies(&daemon_set(0, 0), &[], &[]));
    assert_eq!(diagnosis.hint_text(), Some("more tolerations"));
}
