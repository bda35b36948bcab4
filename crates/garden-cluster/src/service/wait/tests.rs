//! Waiting for a Deployment of an API server in this process.

use garden_build_core::{Error, ErrorKind, EventStream, event_channel};
use garden_build_testing::kubernetes::{FakeCluster, FakePod};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::diagnosis::tests::REMEDIES;
use crate::ownership::MANAGED_BY_LABEL;
use crate::service::daemon::tests::WORDS;
use crate::service::{CONFIGURATION, DaemonPod, DeploymentWords, ManagedDeployment, service_labels};

const NAMESPACE: &str = "demo";

fn fake() -> FakeCluster {
    let fake = FakeCluster::new();
    fake.namespace(NAMESPACE);
    fake
}

fn managed(fake: &FakeCluster, words: &'static DeploymentWords) -> ManagedDeployment {
    ManagedDeployment::new(&Cluster::new(fake.client()), NAMESPACE, words)
}

/// Puts our Deployment there.
fn deployment(fake: &FakeCluster, status: &Value) {
    fake.put(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": WORDS.name, "namespace": NAMESPACE, "generation": 1, "labels": service_labels(WORDS.name),
            "annotations": { CONFIGURATION: "wanted" },
        },
        "spec": { "replicas": 1, "selector": {}, "template": {} },
        "status": status,
    }));
}

fn rolling_out(fake: &FakeCluster) {
    deployment(fake, &json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1 }));
}

fn rolled_out(fake: &FakeCluster) {
    let status =
        json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 });
    deployment(fake, &status);
}

/// Puts a pod of it there, which waits for a node.
fn pod(fake: &FakeCluster, name: &str) -> FakePod {
    pod_with(fake, name, &json!({ "phase": "Pending" }))
}

/// Puts a pod of it there that no node can take.
fn unscheduled(fake: &FakeCluster, name: &str) -> FakePod {
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient memory.",
    });
    pod_with(fake, name, &json!({ "phase": "Pending", "conditions": [condition] }))
}

fn pod_with(fake: &FakeCluster, name: &str, status: &Value) -> FakePod {
    fake.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": service_labels(WORDS.name),
            "annotations": { CONFIGURATION: "wanted" },
        },
        "spec": { "containers": [{ "name": WORDS.container, "image": "example/daemon" }] },
        "status": status,
    }));
    fake.pod(NAMESPACE, name).expect("a pod")
}

/// Its container has run for five minutes and ended, and Kubernetes waits before it starts it again.
fn crash_after_a_while(pod: &FakePod) {
    let now = pod.cluster().now();
    let started = now - Duration::from_secs(300);
    pod.wait(WORDS.container, "CrashLoopBackOff", "back-off restarting failed container");
    pod.alter(|pod| {
        pod["status"]["containerStatuses"][0]["lastState"] = json!({ "terminated": {
            "exitCode": 2, "reason": "Error", "message": "panic: nil",
            "startedAt": started.to_string(), "finishedAt": now.to_string(),
        } });
    });
}

fn stop(pod: &FakePod) {
    pod.alter(|pod| pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into());
}

/// Waits for the service in a task of its own.
fn waiting_for_service(fake: &FakeCluster) -> (JoinHandle<Result<(), ClusterError>>, EventStream) {
    let (managed, (events, stream)) = (managed(fake, &WORDS), event_channel());
    (tokio::spawn(async move { managed.ready(&events).await }), stream)
}

/// Waits for the daemon of our configuration in a task of its own.
fn waiting_for_daemon(fake: &FakeCluster) -> (JoinHandle<Result<DaemonPod, ClusterError>>, EventStream) {
    let (managed, (events, stream)) = (managed(fake, &WORDS), event_channel());
    (tokio::spawn(async move { managed.ready_as("wanted", &events).await }), stream)
}

/// Returns how a wait ended that does not go on for ever.
async fn ended<T>(waiting: JoinHandle<Result<T, ClusterError>>) -> Result<T, ClusterError> {
    let an_hour = Duration::from_secs(3600);
    timeout(an_hour, waiting).await.expect("it ends").expect("no panic")
}

/// Lets everything happen that can: time does not go on before.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

async fn heard(mut events: EventStream) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(event) = events.next().await {
        heard.push(event.to_string().trim().to_owned());
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn a_service_is_waited_for_by_watches_and_each_thing_is_told_once() {
    let fake = fake();
    deployment(&fake, &json!({ "observedGeneration": 1 }));
    let (waiting, stream) = waiting_for_service(&fake);
    settle().await;
    let one = pod(&fake, "one");
    rolling_out(&fake);
    settle().await;
    // The status is written again and says the same.
    one.alter(|pod| pod["status"]["qosClass"] = "BestEffort".into());
    sleep(Duration::from_secs(60)).await;
    // It runs, and does not answer yet.
    one.alter(|pod| {
        let container = json!({
            "name": WORDS.container, "image": "daemon", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "running": {} },
        });
        pod["spec"]["nodeName"] = "node".into();
        pod["status"]["phase"] = "Running".into();
        pod["status"]["containerStatuses"] = json!([container]);
    });
    settle().await;
    rolled_out(&fake);
    ended(waiting).await.expect("ready");
    for plural in ["deployments", "pods"] {
        assert_eq!((fake.count("list", plural), fake.count("watch", plural)), (1, 1), "{plural}");
    }
    assert_eq!(
        heard(stream).await,
        [
            "waiting for the cluster to make the pod of the daemon",
            "waiting for a node (Pod demo/one)",
            "waiting for the daemon to answer (Pod demo/one)",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_starts_soon_is_not_asked_for_its_events() {
    for (seconds, asked) in [(1, false), (4, true)] {
        let fake = fake();
        rolling_out(&fake);
        pod(&fake, "one");
        let (waiting, _stream) = waiting_for_service(&fake);
        sleep(Duration::from_secs(seconds)).await;
        rolled_out(&fake);
        ended(waiting).await.expect("ready");
        assert_eq!(fake.count("list", "events") > 0, asked, "after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_final_ends_the_wait_at_once_with_the_remedy_of_whoever_made_the_pod() {
    let fake = fake();
    rolling_out(&fake);
    pod(&fake, "one").wait(WORDS.container, "ErrImagePull", "example/daemon: not found");
    let started = Instant::now();
    let error = managed(&fake, &WORDS).ready(&event_channel().0).await.expect_err("no image");
    let error = Error::from(error);
    assert_eq!((error.kind(), error.hint()), (ErrorKind::ImagePull, Some(REMEDIES.image.text())));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_has_its_grace_and_an_event_may_lengthen_that() {
    let fake = fake();
    rolling_out(&fake);
    let pod = unscheduled(&fake, "one");
    let started = Instant::now();
    let error = managed(&fake, &WORDS).ready(&event_channel().0).await.expect_err("no node");
    assert_eq!(Error::from(error).kind(), ErrorKind::Unschedulable);
    assert_eq!(started.elapsed().as_secs(), 12);

    pod.event("TriggeredScaleUp", "a node comes");
    let (waiting, _stream) = waiting_for_service(&fake);
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    rolled_out(&fake);
    ended(waiting).await.expect("ready");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_had_run_is_started_again_and_one_that_ends_again_is_told() {
    let fake = fake();
    rolling_out(&fake);
    let one = pod(&fake, "one");
    crash_after_a_while(&one);
    let (waiting, _stream) = waiting_for_service(&fake);
    // Kubernetes waits so long the first time.
    sleep(Duration::from_secs(10)).await;
    one.run();
    rolled_out(&fake);
    ended(waiting).await.expect("ready");

    rolling_out(&fake);
    crash_after_a_while(&one);
    let (waiting, _stream) = waiting_for_service(&fake);
    sleep(Duration::from_secs(20)).await;
    let error = Error::from(ended(waiting).await.expect_err("not started again"));
    assert_eq!((error.kind(), error.hint()), (ErrorKind::BuilderStart, Some(REMEDIES.start.text())));
    assert!(error.message().ends_with("exit code 2: panic: nil"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_has_to_begin_anew_misses_nothing() {
    let fake = fake();
    rolling_out(&fake);
    pod(&fake, "one");
    let (waiting, _stream) = waiting_for_service(&fake);
    settle().await;
    fake.expire_watches();
    // Nobody watches this.
    rolled_out(&fake);
    ended(waiting).await.expect("ready");
    assert_eq!(fake.count("list", "deployments"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_there_is_not_waited_for() {
    let error = managed(&fake(), &WORDS).ready(&event_channel().0).await.expect_err("nothing there");
    let error = Error::from(error);
    assert_eq!((error.kind(), error.hint()), (ErrorKind::NotFound, Some(WORDS.missing.text())));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_shows_a_reason_for_has_an_end() {
    const BOUNDED: DeploymentWords = DeploymentWords { longest: Some(Duration::from_secs(600)), ..WORDS };
    let fake = fake();
    rolling_out(&fake);
    pod(&fake, "one");
    let started = Instant::now();
    let error = managed(&fake, &BOUNDED).ready(&event_channel().0).await.expect_err("too late");
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().ends_with("after 10 minutes: waiting for a node (Pod demo/one)"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_is_the_pod_of_its_configuration_and_the_former_one_may_go_on() {
    let fake = fake();
    let former = pod(&fake, "former");
    former.run();
    former.alter(|pod| pod["metadata"]["annotations"][CONFIGURATION] = "former".into());
    stop(&former);
    rolling_out(&fake);
    let (waiting, stream) = waiting_for_daemon(&fake);
    settle().await;
    let next = unscheduled(&fake, "next");
    // Longer than a node is waited for: it becomes free when the former one's builds end.
    sleep(Duration::from_secs(60)).await;
    next.run();
    let daemon = ended(waiting).await.expect("a daemon");
    assert_eq!(daemon.name, "next");
    assert_eq!(heard(stream).await, ["waiting for the former daemon, Pod former, to finish its builds"]);
}

/// What somebody else does to a Deployment while it is waited for.
fn changed(fake: &FakeCluster, change: fn(&mut Value)) {
    assert!(fake.alter("deployments", NAMESPACE, WORDS.name, change));
}

fn stopped(fake: &FakeCluster) {
    changed(fake, |deployment| deployment["spec"]["replicas"] = 0.into());
}

fn made_by_another_program(fake: &FakeCluster) {
    changed(fake, |deployment| deployment["metadata"]["labels"][MANAGED_BY_LABEL] = "Helm".into());
}

fn deleted(fake: &FakeCluster) {
    assert!(fake.remove("deployments", NAMESPACE, WORDS.name));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_another_client_takes_away_ends_the_wait_for_its_daemon() {
    let reconfigured: fn(&FakeCluster) = |fake| {
        changed(fake, |deployment| deployment["metadata"]["annotations"][CONFIGURATION] = "another".into());
    };
    for take_away in [deleted, reconfigured, stopped] {
        let fake = fake();
        rolling_out(&fake);
        let (waiting, _stream) = waiting_for_daemon(&fake);
        settle().await;
        take_away(&fake);
        let error = Error::from(ended(waiting).await.expect_err("overtaken"));
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::BuilderLost, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_somebody_takes_away_ends_the_wait_for_its_service_at_once() {
    let cases: [(fn(&FakeCluster), _, _, _); 3] = [
        (deleted, ErrorKind::NotFound, "is not installed", WORDS.missing),
        (stopped, ErrorKind::NotFound, "is scaled to nothing, or paused", WORDS.missing),
        (made_by_another_program, ErrorKind::Rejected, "another program", WORDS.foreign),
    ];
    for (take_away, kind, message, hint) in cases {
        let fake = fake();
        rolling_out(&fake);
        let (waiting, _stream) = waiting_for_service(&fake);
        settle().await;
        let started = Instant::now();
        take_away(&fake);
        let error = Error::from(ended(waiting).await.expect_err("taken away"));
        assert_eq!((error.kind(), error.hint()), (kind, Some(hint.text())), "{error}");
        assert!(error.message().contains(message), "{error}");
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn another_program_s_deployment_ends_the_wait_for_a_daemon() {
    let fake = fake();
    rolling_out(&fake);
    let (waiting, _stream) = waiting_for_daemon(&fake);
    settle().await;
    made_by_another_program(&fake);
    let error = Error::from(ended(waiting).await.expect_err("taken away"));
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some(WORDS.foreign.text())));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_daemon_is_told_with_its_cause() {
    let fake = fake();
    let one = pod(&fake, "one");
    one.run();
    let shown = serde_json::from_value(one.object().expect("a pod")).expect("a pod");
    let daemon = DaemonPod::of(&shown, WORDS.container).expect("it runs");
    let managed = managed(&fake, &WORDS);
    let lost = tokio::spawn(async move { managed.lost(&daemon).await });
    settle().await;
    // The request to stop does not end it.
    stop(&one);
    settle().await;
    assert!(!lost.is_finished());
    one.run_out_of_memory(WORDS.container);
    let diagnosis = lost.await.expect("no panic");
    assert_eq!(
        (diagnosis.kind, diagnosis.hint_text()),
        (ErrorKind::OutOfMemory, Some(REMEDIES.memory.text()))
    );
}
