#![expect(clippy::needless_pass_by_value, reason = "statuses are written where they are used")]

use garden_build_core::Remedy;
use serde_json::{Value, json};

use super::*;
use crate::diagnosis::tests::REMEDIES;
use crate::service::VolumeWords;

/// A Deployment whose remedies say which they are.
pub(crate) const WORDS: DeploymentWords = DeploymentWords {
    what: "the daemon",
    name: "garden-daemon",
    container: "daemon",
    volume: Some(VolumeWords {
        claim: "garden-data",
        storage_class: "an.option.storageClass",
        keeps_size: Remedy::new("set the option to its size"),
        quota: Remedy::new("a smaller volume"),
    }),
    remedies: REMEDIES,
    ended: Remedy::new("see what it said last"),
    complaint: Some("daemon: "),
    foreign: Remedy::new("another namespace"),
    missing: Remedy::new("install it"),
    longest: None,
};

fn pod(status: Value) -> Pod {
    let metadata = json!({ "name": "p", "namespace": "demo", "uid": "uid-of-p" });
    serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("a pod")
}

fn with(state: Value, started: bool) -> Value {
    json!({ "phase": "Running", "containerStatuses": [{
        "name": WORDS.container, "image": "i", "imageID": "", "ready": started, "started": started, "restartCount": 0,
        "containerID": "containerd://1", "state": state,
    }] })
}

fn running(started: bool) -> Value {
    with(json!({ "running": {} }), started)
}

#[test]
fn a_daemon_takes_builds_once_it_has_started() {
    let daemon = DaemonPod::of(&pod(running(true)), WORDS.container).expect("a daemon");
    assert_eq!((daemon.name.as_str(), daemon.container_id.as_str()), ("p", "containerd://1"));
    assert_eq!(DaemonPod::of(&pod(running(false)), WORDS.container), None);
    let ended = with(json!({ "terminated": { "exitCode": 0 } }), true);
    assert_eq!(DaemonPod::of(&pod(ended), WORDS.container), None);
    assert_eq!(DaemonPod::of(&pod(running(true)), "another"), None);
}

#[test]
fn a_daemon_on_a_lost_node_takes_no_builds_and_one_beside_a_container_that_is_not_ready_does() {
    let mut status = running(true);
    status["conditions"] = json!([{ "type": "Ready", "status": "Unknown" }]);
    assert_eq!(DaemonPod::of(&pod(status.clone()), WORDS.container), None);

    status["conditions"][0]["status"] = json!("False");
    let mut beside = status["containerStatuses"][0].clone();
    (beside["name"], beside["ready"]) = (json!("beside"), json!(false));
    status["containerStatuses"].as_array_mut().expect("a list").push(beside);
    assert!(DaemonPod::of(&pod(status), WORDS.container).is_some());
}

#[test]
fn a_daemon_that_is_only_told_to_stop_lives() {
    let mut finishing = pod(running(true));
    finishing.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok();
    assert!(finishing.metadata.deletion_timestamp.is_some());
    assert_eq!(WORDS.death(&finishing, "containerd://1"), None);
}

#[test]
fn a_daemon_is_dead_once_its_container_has_ended_even_if_another_runs_already() {
    let ended = with(json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }), true);
    let diagnosis = WORDS.death(&pod(ended), "containerd://1").expect("dead");
    assert_eq!(diagnosis.kind, ErrorKind::OutOfMemory);

    let mut again = running(true);
    again["containerStatuses"][0]["lastState"] =
        json!({ "terminated": { "exitCode": 2, "reason": "Error", "message": "panic: nil" } });
    let again = pod(again);
    assert_eq!(WORDS.death(&again, "containerd://1"), None, "an end before this run is none of ours");
    let diagnosis = WORDS.death(&again, "containerd://0").expect("dead");
    assert_eq!(diagnosis.kind, ErrorKind::BuilderLost);
    assert_eq!(diagnosis.message, "the daemon in Pod p ended with exit code 2: panic: nil");
}

#[test]
fn a_container_beside_the_daemon_that_keeps_dying_is_none_of_its_troubles() {
    let mut status = running(true);
    let mut beside = status["containerStatuses"][0].clone();
    beside["name"] = json!("istio-proxy");
    beside["state"] = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    beside["lastState"] = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    status["containerStatuses"].as_array_mut().expect("a list").insert(0, beside);
    assert_eq!(WORDS.crash_loop(&pod(status)), None);
}

#[test]
fn an_evicted_daemon_is_dead() {
    let status = json!({ "phase": "Failed", "reason": "Evicted", "message": "low on disk" });
    let diagnosis = WORDS.death(&pod(status), "containerd://1").expect("dead");
    assert_eq!((diagnosis.kind, diagnosis.retryable), (ErrorKind::Evicted, true));
}

#[test]
fn what_a_daemon_says_at_every_start_does_not_explain_its_end() {
    let start =
        "time=\"2026\" level=info msg=\"auto snapshotter\"\ntime=\"2026\" level=warning msg=\"no CDI\"\n";
    assert_eq!(WORDS.last_words(start), "");
    let failed = format!("{start}daemon: rootless mode requires to be executed as the mapped root\n");
    assert_eq!(WORDS.last_words(&failed), "daemon: rootless mode requires to be executed as the mapped root");
    let traced = format!("{failed}main.main.func3\n\t/src/cmd/buildkitd/main.go:347\nruntime.goexit\n");
    assert_eq!(WORDS.last_words(&traced), WORDS.last_words(&failed));
    assert_eq!(WORDS.last_words("dockerd: no room\n"), "dockerd: no room");
}
