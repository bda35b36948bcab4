#![expect(clippy::needless_pass_by_value, reason = "objects are written where they are used")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use garden_build_core::{Error, ErrorKind, EventStream, event_channel};
use http::{Request, Response};
use hyper::body::{Body, Frame};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::advance;

use super::*;
use crate::diagnosis::tests::REMEDIES;
use crate::service::daemon::tests::WORDS;
use crate::service::{CONFIGURATION, DaemonPod, DeploymentWords, ManagedDeployment};

/// An API server that lists and watches what it was given, and remembers what it was asked.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By plural and name.
    objects: BTreeMap<(&'static str, String), Value>,
    watches: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    requests: Vec<String>,
    version: u64,
}

/// The rest of an answer, as it comes.
struct Streamed(mpsc::UnboundedReceiver<Bytes>);

impl Body for Streamed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    fn cluster(&self) -> Cluster {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let answer = server.state().answer(request.uri());
            std::future::ready(Ok::<_, std::io::Error>(Response::new(answer)))
        });
        Cluster::new(Client::new(service, "default"))
    }

    fn managed(&self, words: &'static DeploymentWords) -> ManagedDeployment {
        ManagedDeployment::new(&self.cluster(), "demo", words)
    }

    fn put(&self, plural: &'static str, name: &str, mut object: Value) {
        let mut state = self.state();
        state.version += 1;
        let kind = match plural {
            "deployments" => ("apps/v1", "Deployment"),
            "replicasets" => ("apps/v1", "ReplicaSet"),
            _ => ("v1", if plural == "pods" { "Pod" } else { "Event" }),
        };
        (object["apiVersion"], object["kind"]) = (kind.0.into(), kind.1.into());
        object["metadata"]["name"] = name.into();
        object["metadata"]["namespace"] = "demo".into();
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        let known = state.objects.insert((plural, name.to_owned()), object.clone()).is_some();
        state.tell(plural, if known { "MODIFIED" } else { "ADDED" }, object);
    }

    fn delete(&self, plural: &'static str, name: &str) {
        let mut state = self.state();
        let object = state.objects.remove(&(plural, name.to_owned())).expect("it is there");
        state.tell(plural, "DELETED", object);
    }

    /// Ends all watches, as what they began with is not known any more.
    fn forget_the_past(&self) {
        let mut state = self.state();
        let expired = json!({ "kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old" });
        for plural in ["deployments", "pods", "replicasets"] {
            state.tell(plural, "ERROR", expired.clone());
        }
        state.watches.clear();
    }

    fn asked(&self, plural: &str) -> usize {
        self.state().requests.iter().filter(|request| *request == plural).count()
    }
}

impl State {
    fn tell(&mut self, plural: &str, what: &str, object: Value) {
        let line = Bytes::from(format!("{}\n", json!({ "type": what, "object": object })));
        self.watches.retain(|(watched, watch)| watched != plural || watch.send(line.clone()).is_ok());
    }

    fn answer(&mut self, uri: &http::Uri) -> Streamed {
        let plural = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        self.requests.push(plural.clone());
        let (sender, receiver) = mpsc::unbounded_channel();
        if uri.query().is_some_and(|query| query.contains("watch=")) {
            self.watches.push((plural, sender));
        } else {
            let items = self.objects.iter().filter(|((kind, _), _)| *kind == plural);
            let items: Vec<&Value> = items.map(|(_, object)| object).collect();
            let version = json!({ "resourceVersion": self.version.to_string() });
            let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": version, "items": items });
            sender.send(Bytes::from(list.to_string())).expect("somebody reads");
        }
        Streamed(receiver)
    }
}

fn deployment(configuration: &str, status: Value) -> Value {
    let annotations = json!({ CONFIGURATION: configuration });
    json!({ "metadata": { "generation": 1, "annotations": annotations }, "status": status })
}

fn rolling_out() -> Value {
    deployment("wanted", json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1 }))
}

fn rolled_out() -> Value {
    let status =
        json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 });
    deployment("wanted", status)
}

fn pod(status: Value) -> Value {
    let metadata = json!({ "uid": "uid", "annotations": { CONFIGURATION: "wanted" } });
    json!({ "metadata": metadata, "spec": { "containers": [] }, "status": status })
}

fn container(state: Value) -> Value {
    let started = state.get("running").is_some();
    json!({ "phase": "Running", "containerStatuses": [{
        "name": WORDS.container, "image": "example/daemon", "imageID": "", "ready": started, "started": started,
        "restartCount": 0, "containerID": "containerd://1", "state": state,
    }] })
}

fn running() -> Value {
    pod(container(json!({ "running": {} })))
}

fn waiting(reason: &str, message: &str) -> Value {
    pod(container(json!({ "waiting": { "reason": reason, "message": message } })))
}

fn unschedulable(message: &str) -> Value {
    pod(json!({ "phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
    }] }))
}

/// Lets everything happen that can without time going by.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
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
    let server = Server::default();
    server.put("deployments", WORDS.name, deployment("wanted", json!({ "observedGeneration": 1 })));
    let (events, stream) = event_channel();
    let managed = server.managed(&WORDS);
    let waiting_for = tokio::spawn(async move { managed.ready(&events).await });
    settle().await;
    server.put("pods", "one", pod(json!({ "phase": "Pending" })));
    server.put("deployments", WORDS.name, rolling_out());
    settle().await;
    // The status is written again and says the same.
    server.put("pods", "one", pod(json!({ "phase": "Pending" })));
    advance(Duration::from_secs(60)).await;
    settle().await;
    server.put("pods", "one", running());
    settle().await;
    server.put("deployments", WORDS.name, rolled_out());
    waiting_for.await.expect("no panic").expect("ready");
    assert_eq!((server.asked("deployments"), server.asked("pods")), (2, 2), "one list and one watch each");
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
        let server = Server::default();
        server.put("deployments", WORDS.name, rolling_out());
        server.put("pods", "one", pod(json!({ "phase": "Pending" })));
        let (events, _stream) = event_channel();
        let managed = server.managed(&WORDS);
        let waiting_for = tokio::spawn(async move { managed.ready(&events).await });
        settle().await;
        advance(Duration::from_secs(seconds)).await;
        settle().await;
        server.put("deployments", WORDS.name, rolled_out());
        waiting_for.await.expect("no panic").expect("ready");
        assert_eq!(server.asked("events") > 0, asked, "after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_final_ends_the_wait_at_once_with_the_remedy_of_whoever_made_the_pod() {
    let server = Server::default();
    server.put("deployments", WORDS.name, rolling_out());
    server.put("pods", "one", waiting("ErrImagePull", "example/daemon: not found"));
    let started = Instant::now();
    let error = server.managed(&WORDS).ready(&event_channel().0).await.expect_err("no image");
    let error = Error::from(error);
    assert_eq!((error.kind(), error.hint()), (&ErrorKind::ImagePull, Some(REMEDIES.image)));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_has_its_grace_and_an_event_may_lengthen_that() {
    let unscheduled = || {
        let server = Server::default();
        server.put("deployments", WORDS.name, rolling_out());
        server.put("pods", "one", unschedulable("0/1 nodes are available: 1 Insufficient memory."));
        server
    };
    let started = Instant::now();
    let error = unscheduled().managed(&WORDS).ready(&event_channel().0).await.expect_err("no node");
    assert_eq!(*Error::from(error).kind(), ErrorKind::Unschedulable);
    assert_eq!(started.elapsed().as_secs(), 12);

    let server = unscheduled();
    let involved = json!({ "kind": "Pod", "name": "one" });
    let told = json!({ "involvedObject": involved, "reason": "TriggeredScaleUp", "message": "a node comes" });
    server.put("events", "e", told);
    let managed = server.managed(&WORDS);
    let waiting_for = tokio::spawn(async move { managed.ready(&event_channel().0).await });
    settle().await;
    for _ in 0..60 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert!(!waiting_for.is_finished());
    server.put("deployments", WORDS.name, rolled_out());
    waiting_for.await.expect("no panic").expect("ready");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_has_to_begin_anew_misses_nothing() {
    let server = Server::default();
    server.put("deployments", WORDS.name, rolling_out());
    server.put("pods", "one", pod(json!({ "phase": "Pending" })));
    let managed = server.managed(&WORDS);
    let waiting_for = tokio::spawn(async move { managed.ready(&event_channel().0).await });
    settle().await;
    server.forget_the_past();
    // Nobody watches this.
    server.put("deployments", WORDS.name, rolled_out());
    waiting_for.await.expect("no panic").expect("ready");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_there_is_not_waited_for() {
    let error = Server::default().managed(&WORDS).ready(&event_channel().0).await.expect_err("nothing there");
    let error = Error::from(error);
    assert_eq!((error.kind(), error.hint()), (&ErrorKind::NotFound, Some(WORDS.missing)));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_shows_a_reason_for_has_an_end() {
    const BOUNDED: DeploymentWords = DeploymentWords { longest: Some(Duration::from_secs(600)), ..WORDS };
    let server = Server::default();
    server.put("deployments", WORDS.name, rolling_out());
    server.put("pods", "one", pod(json!({ "phase": "Pending" })));
    let started = Instant::now();
    let error = server.managed(&BOUNDED).ready(&event_channel().0).await.expect_err("too late");
    let error = Error::from(error);
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    assert!(error.message().ends_with("after 10 minutes: waiting for a node (Pod demo/one)"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_is_the_pod_of_its_configuration_and_the_former_one_may_go_on() {
    let server = Server::default();
    let mut former = running();
    former["metadata"]["annotations"][CONFIGURATION] = "former".into();
    former["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    server.put("pods", "former", former);
    server.put("deployments", WORDS.name, rolling_out());
    let (events, stream) = event_channel();
    let managed = server.managed(&WORDS);
    let waiting_for = tokio::spawn(async move { managed.ready_as("wanted", &events).await });
    settle().await;
    server.put("pods", "next", unschedulable("0/1 nodes are available: 1 Insufficient memory."));
    // Longer than a node is waited for: it becomes free when the former one's builds end.
    for _ in 0..60 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    server.put("pods", "next", running());
    let daemon: DaemonPod = waiting_for.await.expect("no panic").expect("a daemon");
    assert_eq!(daemon.name, "next");
    assert_eq!(heard(stream).await, ["waiting for the former daemon, Pod former, to finish its builds"]);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_another_client_takes_away_ends_the_wait() {
    for taken_away in [
        |server: &Server| server.delete("deployments", WORDS.name),
        |server: &Server| server.put("deployments", WORDS.name, deployment("another", json!({}))),
    ] {
        let server = Server::default();
        server.put("deployments", WORDS.name, rolling_out());
        let managed = server.managed(&WORDS);
        let waiting_for = tokio::spawn(async move { managed.ready_as("wanted", &event_channel().0).await });
        settle().await;
        taken_away(&server);
        let error = Error::from(waiting_for.await.expect("no panic").expect_err("overtaken"));
        assert_eq!((error.kind(), error.is_retryable()), (&ErrorKind::BuilderLost, true));
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_daemon_is_told_with_its_cause() {
    let server = Server::default();
    server.put("pods", "one", running());
    let managed = server.managed(&WORDS);
    let listed = server.state().objects[&("pods", "one".to_owned())].clone();
    let daemon = DaemonPod::of(&serde_json::from_value(listed).expect("a pod"), WORDS.container);
    let daemon = daemon.expect("it runs");
    let lost = tokio::spawn(async move { managed.lost(&daemon).await });
    settle().await;
    // Being told to stop is no end.
    let mut stopping = running();
    stopping["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    server.put("pods", "one", stopping);
    settle().await;
    assert!(!lost.is_finished());
    let ended = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
    server.put("pods", "one", pod(container(ended)));
    let diagnosis = lost.await.expect("no panic");
    assert_eq!((diagnosis.kind, diagnosis.hint.as_deref()), (ErrorKind::OutOfMemory, Some(REMEDIES.memory)));
}
