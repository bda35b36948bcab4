use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch::{Receiver, Sender};

use super::clock::Clock;
use super::connection;
use super::deployments;
use super::fault::{Effect, Fault};
use super::kind::{self, Kind};
use super::log::{Log, LogName};
use super::pod::FakePod;
use super::program::{self, Connection, End, Kubelet, Listener, Process, Program};
use super::refusal::Refusal;
use super::request::Request;
use super::server;
use super::store::{Key, Store};
use super::watch::Disruption;

/// An API server with what it has stored; clones are the same one.
#[derive(Clone, Debug)]
pub struct FakeCluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Rings after each change of the state.
    bell: Sender<()>,
}

struct State {
    store: Store,
    clock: Clock,
    requests: Vec<Request>,
    faults: Vec<Fault>,
    logs: HashMap<LogName, Log>,
    /// How often all watches were disrupted, and how the last time.
    disruption: (u64, Disruption),
    /// How often streams to pods were cut.
    stream_cuts: u64,
    has_old_streams: bool,
    kubelet: Option<Kubelet>,
    exec: Option<Program>,
    attach: Option<Program>,
    listener: Option<Listener>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("store", &self.store)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl Default for FakeCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeCluster {
    /// A cluster with the namespace `default`, and nothing in it.
    pub fn new() -> Self {
        let mut clock = Clock::new();
        let mut store = Store::default();
        store.make_namespace("default", clock.now());
        let state = State {
            store,
            clock,
            requests: Vec::new(),
            faults: Vec::new(),
            logs: HashMap::new(),
            disruption: (0, Disruption::Ended),
            stream_cuts: 0,
            has_old_streams: false,
            kubelet: None,
            exec: None,
            attach: None,
            listener: None,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), bell: Sender::new(()) }) }
    }

    /// Returns a client whose connections are in memory. It retries nothing.
    pub fn client(&self) -> Client {
        connection::client(self)
    }

    /// Serves a port of this machine's loopback interface as well, without TLS, and returns its URL.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn listen(&self) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let cluster = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server::serve(cluster.clone(), stream));
            }
        });
        Ok(url)
    }

    /// Returns a kubeconfig for what [`listen`](Self::listen) returned.
    pub fn kubeconfig(url: &str) -> String {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{ "name": "fake", "cluster": { "server": url } }],
            "users": [{ "name": "fake", "user": {} }],
            "contexts": [{ "name": "fake", "context": { "cluster": "fake", "user": "fake" } }],
        });
        config.to_string()
    }
}

/// What it has stored. Objects are named by the plural of their kind, such as `pods`; the namespace of a kind that
/// is in none is empty.
impl FakeCluster {
    /// Creates a namespace, unless there is one, with the service account that every namespace gets.
    pub fn namespace(&self, name: &str) {
        self.change(|state| {
            let now = state.clock.now();
            state.store.make_namespace(name, now);
        });
    }

    /// Puts an object there, whatever is in its place, with its status, and returns it as it is stored.
    ///
    /// # Panics
    /// If its `apiVersion` and `kind` are not served here.
    #[track_caller]
    pub fn put(&self, object: Value) -> Value {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let Some(kind) = kind::of_object(text("apiVersion"), text("kind")) else {
            panic!("the fake cluster does not serve {} {}", object["apiVersion"], object["kind"]);
        };
        self.change(|state| {
            let now = state.clock.now();
            state.store.set(kind, object, now)
        })
    }

    /// Returns an object.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key::new(kind_of(plural), namespace, name);
        self.with_store(|store| store.get(&key).cloned())
    }

    /// Returns all objects of a kind.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn objects(&self, plural: &str) -> Vec<Value> {
        let kind = kind_of(plural);
        self.with_store(|store| store.list(kind.plural, None).map(|(_, object)| object.clone()).collect())
    }

    /// Returns the names of all objects of a kind.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn names(&self, plural: &str) -> Vec<String> {
        let kind = kind_of(plural);
        self.with_store(|store| store.list(kind.plural, None).map(|(key, _)| key.name.clone()).collect())
    }

    /// Returns the names of all objects of a kind that were ever created, a name as often as it was.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn created(&self, plural: &str) -> Vec<String> {
        let kind = kind_of(plural);
        let is_one = |key: &&Key| key.plural == kind.plural;
        self.with_store(|store| store.created().iter().filter(is_one).map(|key| key.name.clone()).collect())
    }

    /// Changes an object in any way, its status among them. Returns whether there is one.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn alter(&self, plural: &str, namespace: &str, name: &str, alter: impl FnOnce(&mut Value)) -> bool {
        let key = Key::new(kind_of(plural), namespace, name);
        self.change(|state| state.store.alter(&key, alter).is_some())
    }

    /// Removes an object at once, with what it owns. Returns whether there was one.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let key = Key::new(kind_of(plural), namespace, name);
        self.change(|state| {
            let now = state.clock.now();
            state.store.remove(&key, now).is_some()
        })
    }

    /// Returns a pod, to say what becomes of it.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<FakePod> {
        let pod = self.object("pods", namespace, name)?;
        Some(FakePod::new(self.clone(), namespace, name, pod["metadata"]["uid"].as_str().unwrap_or_default()))
    }

    /// Waits until `condition` is met, which is asked after each change and each request, and returns what it returned.
    pub async fn until<T>(&self, condition: impl Fn() -> Option<T>) -> T {
        let mut bell = self.bell();
        loop {
            if let Some(met) = condition() {
                return met;
            }
            // The sender is in `self`, so this does not fail.
            let _ = bell.changed().await;
        }
    }

    /// Returns the server's time. It goes with tokio's clock.
    pub fn now(&self) -> Timestamp {
        self.state().clock.now()
    }

    /// Puts the server's clock forward.
    pub fn put_clock_forward(&self, by: Duration) {
        self.change(|state| state.clock.put_forward(by));
    }
}

/// What happens in it.
impl FakeCluster {
    /// Runs `kubelet` for each pod that is created from now on, in a task of its own.
    pub fn on_pod<F: Future<Output = ()> + Send + 'static>(
        &self,
        kubelet: impl Fn(FakePod) -> F + Send + Sync + 'static,
    ) {
        self.state().kubelet = Some(program::boxed(kubelet));
    }

    /// Makes pods of Deployments from now on, by way of `ReplicaSets`, and counts in their status how many are ready.
    pub fn run_deployments(&self) {
        tokio::spawn(deployments::run(self.clone()));
    }

    /// Answers each `exec` with what `program` does.
    pub fn on_exec<F: Future<Output = End> + Send + 'static>(
        &self,
        program: impl Fn(Process) -> F + Send + Sync + 'static,
    ) {
        self.state().exec = Some(program::boxed(program));
    }

    /// Answers each `attach` with what `program` does.
    pub fn on_attach<F: Future<Output = End> + Send + 'static>(
        &self,
        program: impl Fn(Process) -> F + Send + Sync + 'static,
    ) {
        self.state().attach = Some(program::boxed(program));
    }

    /// Answers each `portforward` with what `listener` does; without one, nobody listens.
    pub fn on_connection<F: Future<Output = ()> + Send + 'static>(
        &self,
        listener: impl Fn(Connection) -> F + Send + Sync + 'static,
    ) {
        self.state().listener = Some(program::boxed(listener));
    }
}

/// What goes wrong in it, and what it was asked.
impl FakeCluster {
    /// Has something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Ends all watches, as the server does from time to time.
    pub fn end_watches(&self) {
        self.disrupt(Disruption::Ended);
    }

    /// Breaks the connections of all watches.
    pub fn cut_watches(&self) {
        self.disrupt(Disruption::Cut);
    }

    /// Forgets what happened, and ends all watches with `410 Gone`: who wants to know has to list again.
    pub fn expire_watches(&self) {
        self.change(|state| state.store.compact());
        self.disrupt(Disruption::Expired);
    }

    /// Tells all watches that ask for it how far they are.
    pub fn send_bookmarks(&self) {
        self.disrupt(Disruption::Bookmark);
    }

    /// Breaks the connections of all streams to pods: exec, attach, port-forward.
    pub fn cut_streams(&self) {
        self.change(|state| state.stream_cuts += 1);
    }

    /// Ends all streams of a container's log, though the container goes on: with an end as of a log (`clean`), or with a break.
    pub fn cut_log(&self, namespace: &str, pod: &str, container: &str, clean: bool) {
        self.change(|state| {
            let name = (namespace.to_owned(), pod.to_owned(), container.to_owned());
            let log = state.logs.entry(name).or_default();
            log.cuts += 1;
            log.is_clean_cut = clean;
        });
    }

    /// Speaks only the older protocol of streams, which cannot close a command's input alone, as servers before 1.30.
    pub fn speak_old_streams(&self) {
        self.state().has_old_streams = true;
    }

    /// Returns the requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Returns [`Request::words`] of all requests that changed something or were meant to.
    pub fn writes(&self) -> Vec<String> {
        let is_read = |request: &Request| matches!(request.verb(), "get" | "list" | "watch");
        self.state().requests.iter().filter(|request| !is_read(request)).map(Request::words).collect()
    }

    /// Counts the requests of this verb for this resource.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        let state = self.state();
        state.requests.iter().filter(|it| it.verb() == verb && it.resource() == resource).count()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state().requests.clear();
    }

    fn disrupt(&self, how: Disruption) {
        self.change(|state| state.disruption = (state.disruption.0 + 1, how));
    }
}

/// For the server.
impl FakeCluster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.inner.bell.send_replace(());
        changed
    }

    /// Returns what rings after the next change, and later ones.
    pub(crate) fn bell(&self) -> Receiver<()> {
        self.inner.bell.subscribe()
    }

    pub(crate) fn with_store<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.state().store)
    }

    pub(crate) fn change_store<T>(&self, change: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        self.change(|state| {
            let now = state.clock.now();
            change(&mut state.store, now)
        })
    }

    /// Rings only if the store has a new version then.
    pub(crate) fn change_store_if<T>(&self, change: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        let mut state = self.state();
        let (before, now) = (state.store.version(), state.clock.now());
        let changed = change(&mut state.store, now);
        if state.store.version() != before {
            self.inner.bell.send_replace(());
        }
        changed
    }

    pub(crate) fn with_log<T>(&self, name: &LogName, look: impl FnOnce(&mut Log) -> T) -> T {
        look(self.state().logs.entry(name.clone()).or_default())
    }

    pub(crate) fn print(&self, name: &LogName, stamp: Option<Timestamp>, line: &str) {
        self.change(|state| {
            let stamp = stamp.unwrap_or_else(|| state.clock.now());
            state.logs.entry(name.clone()).or_default().lines.push((stamp, line.to_owned()));
        });
    }

    pub(crate) fn complete_log(&self, name: &LogName) {
        self.change(|state| state.logs.entry(name.clone()).or_default().is_complete = true);
    }

    /// Returns the name of a pod's container, or of its only one, if it has started.
    pub(crate) fn container_that_started(
        &self,
        namespace: &str,
        name: &str,
        container: Option<&str>,
    ) -> Result<String, Refusal> {
        let kind = kind_of("pods");
        let pod = self.with_store(|store| store.get(&Key::new(kind, namespace, name)).cloned());
        let pod = pod.ok_or_else(|| Refusal::not_found(kind, name))?;
        let first = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default();
        let container = container.unwrap_or(first);
        let statuses = pod["status"]["containerStatuses"].as_array();
        let status = statuses.and_then(|all| all.iter().find(|status| status["name"] == container));
        let state = status.map(|status| &status["state"]);
        match state {
            Some(state) if !state["running"].is_null() || !state["terminated"].is_null() => {
                Ok(container.to_owned())
            }
            _ => Err(Refusal::bad_request(format!(
                "container \"{container}\" in pod \"{name}\" is waiting to start: ContainerCreating"
            ))),
        }
    }

    pub(crate) fn record(&self, request: &Request) -> Option<Effect> {
        self.change(|state| {
            state.requests.push(request.clone());
            state
                .faults
                .iter_mut()
                .rev()
                .find_map(|fault| fault.strikes(request).then(|| fault.effect.clone()))
        })
    }

    pub(crate) fn disruption(&self) -> (u64, Disruption) {
        self.state().disruption
    }

    pub(crate) fn stream_cuts(&self) -> u64 {
        self.state().stream_cuts
    }

    pub(crate) fn has_old_streams(&self) -> bool {
        self.state().has_old_streams
    }

    pub(crate) fn kubelet(&self) -> Option<Kubelet> {
        self.state().kubelet.clone()
    }

    pub(crate) fn program(&self, subresource: &str) -> Option<Program> {
        let state = self.state();
        if subresource == "attach" { state.attach.clone() } else { state.exec.clone() }
    }

    pub(crate) fn listener(&self) -> Option<Listener> {
        self.state().listener.clone()
    }
}

#[track_caller]
fn kind_of(plural: &str) -> &'static Kind {
    let Some(kind) = kind::by_plural(plural) else { panic!("the fake cluster does not serve {plural}") };
    kind
}
