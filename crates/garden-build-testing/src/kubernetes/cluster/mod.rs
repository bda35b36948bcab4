//! The cluster that a test has: an API server with what it has stored.
//!
//! * `objects`: what it has stored, as a test sees and changes it.
//! * `programs`: what its pods do.
//! * `faults`: what goes wrong in it, and what it was asked.
//! * `inside`: what the server itself needs of it.

mod faults;
mod inside;
mod objects;
mod programs;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch::Sender;

use super::clock::Clock;
use super::connection;
use super::fault::Fault;
use super::kind::{self, Kind};
use super::log::{Log, LogName};
use super::program::{Kubelet, Listener, Program};
use super::request::Request;
use super::server;
use super::store::Store;
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.inner.bell.send_replace(());
        changed
    }
}

#[track_caller]
fn kind_of(plural: &str) -> &'static Kind {
    let Some(kind) = kind::by_plural(plural) else { panic!("the fake cluster does not serve {plural}") };
    kind
}
