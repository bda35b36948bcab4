#![expect(clippy::needless_pass_by_value, reason = "statuses are written where they are used")]

use std::time::Duration;

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;
use crate::service::daemon::tests::WORDS;
use crate::service::{CONFIGURATION, service_deployment};

const WANTED: &str = "wanted";
const CONTAINER: &str = WORDS.container;

fn pod(name: &str, configuration: &str, created: &str, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "demo", "uid": format!("uid-of-{name}"), "creationTimestamp": created,
            "annotations": { CONFIGURATION: configuration },
        },
        "spec": { "nodeName": "n", "containers": [{ "name": CONTAINER }] },
        "status": status,
    }))
    .expect("a pod")
}

fn with(state: Value, started: bool) -> Value {
    json!({ "phase": "Running", "containerStatuses": [{
        "name": CONTAINER, "image": "i", "imageID": "", "ready": started, "started": started, "restartCount": 0,
        "containerID": "containerd://1", "state": state,
    }] })
}

fn running(started: bool) -> Value {
    with(json!({ "running": {} }), started)
}

fn ready(name: &str, configuration: &str, created: &str) -> Pod {
    pod(name, configuration, created, running(true))
}

fn terminating(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = pod.metadata.creation_timestamp.clone();
    pod
}

fn unschedulable(message: &str) -> Value {
    json!({ "phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
    }] })
}

fn refused(message: &str) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": { "name": "garden-daemon-1", "namespace": "demo" },
        "spec": { "selector": {}, "template": {} },
        "status": { "replicas": 0, "conditions": [
            { "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message },
        ] },
    }))
    .expect("a replica set")
}

fn waits_for(outlook: &Outlook<DaemonPod>) -> &str {
    match outlook {
        Outlook::Waiting(what) => what,
        other => panic!("not waiting: {other:?}"),
    }
}

fn stuck(outlook: Outlook<DaemonPod>) -> Trouble {
    match outlook {
        Outlook::Stuck(trouble) => trouble,
        other => panic!("not stuck: {other:?}"),
    }
}

fn choose(pods: &[Pod], wanted: &str) -> Option<DaemonPod> {
    super::choose(&WORDS, pods, wanted)
}

fn outlook(pods: &[Pod], maker: Option<&ReplicaSet>, wanted: &str, events: &[Event]) -> Outlook<DaemonPod> {
    super::outlook(&WORDS, Shown { pods, maker }, wanted, events)
}

const OLD: &str = "2026-01-01T00:00:00Z";
const NEW: &str = "2026-01-02T00:00:00Z";

#[test]
fn the_oldest_started_pod_of_the_configuration_takes_the_build() {
    let pods = [
        ready("a-newer", WANTED, NEW),
        ready("other", "other", OLD),
        terminating(ready("finishing", WANTED, OLD)),
        pod("starting", WANTED, OLD, running(false)),
        pod("evicted", WANTED, OLD, json!({ "phase": "Failed", "reason": "Evicted" })),
        ready("b-older", WANTED, OLD),
    ];
    let chosen = choose(&pods, WANTED).expect("a daemon");
    assert_eq!((chosen.name.as_str(), chosen.uid.as_str()), ("b-older", "uid-of-b-older"));
    assert_eq!(choose(&pods[1..5], WANTED), None);
}

#[test]
fn a_daemon_whose_node_does_not_report_any_more_takes_no_build() {
    let mut status = running(true);
    status["conditions"] = json!([{ "type": "Ready", "status": "False", "reason": "NodeNotReady" }]);
    let lost = pod("a-lost", WANTED, OLD, status.clone());
    assert_eq!(choose(std::slice::from_ref(&lost), WANTED), None);
    let replacement = ready("b-new", WANTED, NEW);
    assert_eq!(choose(&[lost, replacement], WANTED).map(|daemon| daemon.name).as_deref(), Some("b-new"));
    status["conditions"][0]["status"] = json!("True");
    assert!(choose(&[pod("there", WANTED, OLD, status)], WANTED).is_some());
}

#[test]
fn a_daemon_that_is_too_busy_for_probes_is_chosen_all_the_same() {
    let mut status = running(true);
    status["containerStatuses"][0]["ready"] = json!(false);
    status["podIP"] = json!("10.1.2.3");
    let chosen = choose(&[pod("busy", WANTED, OLD, status)], WANTED).expect("a daemon");
    assert_eq!(chosen.address.map(|address| address.to_string()).as_deref(), Some("10.1.2.3"));
}

#[test]
fn a_new_daemon_waits_for_the_builds_of_the_former_one_if_it_needs_its_place() {
    let former = terminating(ready("former", "other", OLD));
    let quota = refused("pods is forbidden: exceeded quota: small");
    let full = pod("next", WANTED, NEW, unschedulable("0/1 nodes are available: 1 Insufficient memory."));
    let kept_away = unschedulable("0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.");
    let kept_away = pod("next", WANTED, NEW, kept_away);
    for outlook in [
        outlook(&[former.clone(), kept_away], None, WANTED, &[]),
        outlook(std::slice::from_ref(&former), None, WANTED, &[]),
        outlook(std::slice::from_ref(&former), Some(&quota), WANTED, &[]),
        outlook(&[former.clone(), full.clone()], None, WANTED, &[]),
    ] {
        assert_eq!(waits_for(&outlook), "the former daemon, Pod former, to finish its builds");
    }
    // What has nothing to do with room is said at once.
    let unfit =
        pod("next", WANTED, NEW, unschedulable("1 node(s) didn't match Pod's node affinity/selector."));
    assert_eq!(stuck(outlook(&[former, unfit], None, WANTED, &[])).diagnosis.kind, ErrorKind::Unschedulable);
    assert_eq!(stuck(outlook(&[full], None, WANTED, &[])).diagnosis.kind, ErrorKind::Unschedulable);
}

#[test]
fn a_former_daemon_that_has_ended_is_not_said_to_build() {
    let mut ended = with(json!({ "terminated": { "exitCode": 0 } }), false);
    let mut beside = running(true)["containerStatuses"][0].clone();
    beside["name"] = json!("istio-proxy");
    ended["containerStatuses"].as_array_mut().expect("a list").push(beside);
    let former = terminating(pod("former", "other", OLD, ended));
    assert_eq!(
        waits_for(&outlook(&[former], None, WANTED, &[])),
        "what the cluster has added to the former daemon's Pod former to stop"
    );
}

#[test]
fn a_quota_that_no_end_of_another_pod_satisfies_is_told_at_once() {
    let former = terminating(ready("former", "other", OLD));
    for message in [
        "pods is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0",
        "pods is forbidden: failed quota: compute: must specify limits.cpu for: istio-proxy",
    ] {
        let trouble = stuck(outlook(std::slice::from_ref(&former), Some(&refused(message)), WANTED, &[]));
        assert_ne!(trouble.diagnosis.hint_text(), Some(WORDS.remedies.quota.text()), "{message}");
    }
}

#[test]
fn a_refused_pod_is_told_with_a_remedy() {
    let cases = [
        ("pods is forbidden: exceeded quota: small", WORDS.remedies.quota),
        (
            r#"pods is forbidden: violates PodSecurity "baseline:latest": privileged"#,
            WORDS.remedies.pod_security,
        ),
        (
            "admission webhook denied the request: Privileged containers are not allowed",
            WORDS.remedies.privileges,
        ),
    ];
    for (message, remedy) in cases {
        let trouble = stuck(outlook(&[], Some(&refused(message)), WANTED, &[]));
        assert_eq!(trouble.diagnosis.kind, ErrorKind::Rejected);
        assert!(trouble.diagnosis.message.contains(message));
        assert_eq!(trouble.diagnosis.hint_text(), Some(remedy.text()), "{message}");
        assert!(trouble.grace <= Duration::from_secs(3));
    }
}

#[test]
fn a_namespace_that_is_just_made_may_lack_its_service_account() {
    let young = refused("error looking up service account demo/default: not found");
    assert_eq!(stuck(outlook(&[], Some(&young), WANTED, &[])).grace, Duration::from_secs(15));
}

#[test]
fn the_latest_refusal_counts_and_not_the_first() {
    let event: Event = serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "reason": "FailedCreate",
        "message": "(combined from similar events): Error creating: pods is forbidden: exceeded quota: small",
    }))
    .expect("an event");
    let trouble = stuck(outlook(&[], Some(&refused("violates PodSecurity")), WANTED, &[event]));
    assert!(
        trouble.diagnosis.message.ends_with("demo/garden-daemon: pods is forbidden: exceeded quota: small")
    );
}

#[test]
fn without_a_refusal_the_pod_is_on_its_way() {
    assert_eq!(waits_for(&outlook(&[], None, WANTED, &[])), "the cluster to make the pod of the daemon");
}

#[test]
fn a_daemon_that_keeps_dying_is_told_with_its_last_words() {
    let mut status =
        with(json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } }), false);
    status["containerStatuses"][0]["lastState"] =
        json!({ "terminated": { "exitCode": 1, "reason": "Error", "message": "operation not permitted\n" } });
    let trouble = stuck(outlook(&[pod("next", WANTED, NEW, status)], None, WANTED, &[]));
    assert_eq!((trouble.diagnosis.kind, trouble.grace), (ErrorKind::BuilderStart, Duration::ZERO));
    assert!(trouble.diagnosis.message.ends_with("exit code 1: operation not permitted"));
}

#[test]
fn a_daemon_that_had_run_may_be_backed_off_from_once() {
    let grace = |finished: &str| {
        let mut status = with(json!({ "waiting": { "reason": "CrashLoopBackOff" } }), false);
        status["containerStatuses"][0]["restartCount"] = 1.into();
        status["containerStatuses"][0]["lastState"] = json!({ "terminated": {
            "exitCode": 2, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": finished,
        } });
        stuck(outlook(&[pod("next", WANTED, NEW, status)], None, WANTED, &[])).grace.as_secs()
    };
    assert_eq!(grace("2026-01-01T00:00:09Z"), 0, "it cannot start");
    // The first wait of Kubernetes is over by then, and its second one is not.
    assert!((11..20).contains(&grace("2026-01-01T00:05:00Z")));
}

#[test]
fn a_daemon_that_keeps_running_out_of_memory_is_told_so() {
    let mut status = with(json!({ "waiting": { "reason": "CrashLoopBackOff" } }), false);
    status["containerStatuses"][0]["lastState"] =
        json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
    let trouble = stuck(outlook(&[pod("next", WANTED, NEW, status)], None, WANTED, &[]));
    assert_eq!(trouble.diagnosis.kind, ErrorKind::OutOfMemory);
}

#[test]
fn a_claim_that_gets_no_volume_is_told_soon_and_one_that_may_get_one_is_waited_for() {
    let waiting = pod("next", WANTED, NEW, unschedulable("pod has unbound immediate PersistentVolumeClaims"));
    let outlook = |reason: &str, message: &str| {
        let event = json!({ "metadata": {}, "involvedObject": {}, "reason": reason, "message": message });
        let event: Event = serde_json::from_value(event).expect("an event");
        stuck(outlook(std::slice::from_ref(&waiting), None, WANTED, &[event]))
    };
    for (reason, message) in [
        ("ProvisioningFailed", "storageclass.storage.k8s.io \"fast\" not found"),
        ("FailedBinding", "no persistent volumes available for this claim and no storage class is set"),
    ] {
        let trouble = outlook(reason, message);
        assert_eq!(trouble.diagnosis.kind, ErrorKind::BuilderStart);
        assert!(trouble.grace < Duration::from_secs(10));
        assert!(trouble.diagnosis.message.ends_with(message), "{}", trouble.diagnosis.message);
    }
    let trouble = outlook("ProvisioningFailed", "failed to provision volume: rate limit exceeded");
    assert!(trouble.grace > Duration::from_secs(60));
}

#[test]
fn a_daemon_that_died_once_may_start_again() {
    let status = with(json!({ "terminated": { "exitCode": 1 } }), false);
    let outlook = outlook(&[pod("next", WANTED, NEW, status)], None, WANTED, &[]);
    assert_eq!(waits_for(&outlook), "the daemon to be started again (Pod demo/next)");
}

#[test]
fn a_deployment_that_was_taken_away_ends_the_wait() {
    let overtaken = |live: Option<&Deployment>| super::overtaken(&WORDS, "demo", live, WANTED);
    let annotations = [(CONFIGURATION.to_owned(), WANTED.to_owned())].into();
    let metadata = ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() };
    let mut live = service_deployment(WORDS.name, metadata, [].into(), PodSpec::default());
    assert_eq!(overtaken(Some(&live)), None);
    assert!(overtaken(None).is_some_and(|diagnosis| diagnosis.message.contains("deleted")));
    live.metadata.annotations = None;
    assert!(overtaken(Some(&live)).is_some_and(|diagnosis| diagnosis.retryable));
}
