use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_server::ControlServer;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tower::Service as _;

use super::control::Service;
use super::record::{BuildRecord, Call};
use super::session::Session;
use super::step::Reports;
use super::{BuildFailure, Built, FakeBuild};
use crate::kubernetes::{End, FakeCluster, Process};
use crate::script::{self, Script};

/// The longest message, and the longest headers, that are taken. Source: containerd's `defaults.DefaultMaxRecvMsgSize`.
pub(super) const LARGEST_MESSAGE: usize = 16 << 20;

/// The buffer of a connection in memory.
const PIPE: usize = 64 << 10;

/// A `BuildKit` daemon whose builds do what a test says; clones are the same one.
#[derive(Clone, Debug)]
pub struct FakeBuildkit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Rings after each change of the state.
    bell: Sender<()>,
}

pub(super) struct State {
    pub(super) script: Script<FakeBuild, Result<Built, BuildFailure>>,
    pub(super) version: String,
    reads_compressed: bool,
    /// By the identity that the client gave them.
    pub(super) sessions: HashMap<String, Session>,
    /// By the build's reference. They stay, as a client may ask for them late.
    pub(super) reports: HashMap<String, Arc<Reports>>,
    pub(super) builds: Vec<BuildRecord>,
    /// The names of the images that other clients build.
    pub(super) others: Vec<Vec<String>>,
    pub(super) calls: Vec<Call>,
    /// Ends all connections that there are.
    cut: CancellationToken,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("version", &self.version)
            .field("builds", &self.builds)
            .finish_non_exhaustive()
    }
}

impl Default for FakeBuildkit {
    fn default() -> Self {
        Self::new()
    }
}

/// How it is reached.
impl FakeBuildkit {
    /// A daemon that has built nothing, and whose builds do what [`FakeBuild::run`] does.
    pub fn new() -> Self {
        let state = State {
            script: script::boxed(async |build: FakeBuild| build.run().await),
            version: "v0.26.3".to_owned(),
            reads_compressed: true,
            sessions: HashMap::new(),
            reports: HashMap::new(),
            builds: Vec::new(),
            others: Vec::new(),
            calls: Vec::new(),
            cut: CancellationToken::new(),
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), bell: Sender::new(()) }) }
    }

    /// Returns the client's end of a new connection in memory. Has to be called in a tokio runtime.
    pub fn connect(&self) -> DuplexStream {
        let (client, served) = tokio::io::duplex(PIPE);
        let daemon = self.clone();
        tokio::spawn(async move { daemon.serve(served).await });
        client
    }

    /// Serves a port of this machine's loopback interface, without TLS, until the runtime ends, and returns its address.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn listen(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let daemon = self.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Such as for want of descriptors, which other tests of the process give back.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let daemon = daemon.clone();
                tokio::spawn(async move { daemon.serve(stream).await });
            }
        });
        Ok(address)
    }

    /// Serves one connection, until it ends.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (connection, reads_compressed) = {
            let state = self.state();
            (state.cut.child_token(), state.reads_compressed)
        };
        let service = Service { daemon: self.clone(), connection: connection.clone() };
        let mut server = ControlServer::new(service).max_decoding_message_size(LARGEST_MESSAGE);
        if reads_compressed {
            server = server.accept_compressed(CompressionEncoding::Gzip);
        }
        let answer = move |request| server.clone().call(request);
        let serving = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(u32::try_from(LARGEST_MESSAGE).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::select! {
            // A client that goes away is part of some tests.
            _ = serving => {}
            () = connection.cancelled() => {}
        }
    }

    /// Answers in the pods of `cluster`, as [`exec`](Self::exec) does. It makes the pods of Deployments run at once, and
    /// go when they are deleted, so it takes the place of [`FakeCluster::on_pod`] and [`FakeCluster::on_exec`].
    /// Has to be called in a tokio runtime.
    pub fn run_in(&self, cluster: &FakeCluster) {
        cluster.run_deployments();
        cluster.on_pod(async |pod| {
            pod.run();
            pod.deleted().await;
            pod.vanish();
        });
        let daemon = self.clone();
        cluster.on_exec(move |process| {
            let daemon = daemon.clone();
            async move { daemon.exec(process).await }
        });
    }

    /// Is the command `buildctl dial-stdio` in a pod: its input and output are a connection to the daemon. For a test that has
    /// a [`FakeCluster::on_exec`] of its own. Any other command is not found.
    pub async fn exec(&self, process: Process) -> End {
        let program = process.command.first().map(String::as_str).unwrap_or_default();
        if program != "buildctl" || process.command.last().is_none_or(|word| word != "dial-stdio") {
            return End::Failed(format!("exec: \"{program}\": executable file not found in $PATH: unknown"));
        }
        // The standard error stream stays open meanwhile.
        let Process { stdin, stdout, stderr: _stderr, .. } = process;
        self.serve(tokio::io::join(stdin, stdout)).await;
        End::Exit(0)
    }
}

/// What happens in it.
impl FakeBuildkit {
    /// Runs `script` for each build from now on. What it returns is the build's end. If the client cancels the build, or its
    /// connection breaks, the script is dropped.
    pub fn on_build<F: Future<Output = Result<Built, BuildFailure>> + Send + 'static>(
        &self,
        script: impl Fn(FakeBuild) -> F + Send + Sync + 'static,
    ) {
        self.change(|state| state.script = script::boxed(script));
    }

    /// Calls itself this version of `BuildKit`, such as `v0.12.0`.
    pub fn set_version(&self, version: &str) {
        self.change(|state| version.clone_into(&mut state.version));
    }

    /// Refuses compressed messages on connections from now on, as daemons do that were compiled without gzip.
    pub fn refuse_compression(&self) {
        self.change(|state| state.reads_compressed = false);
    }

    /// Another client's build runs on the daemon from now on, and gives its image these names.
    pub fn add_other_build<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) {
        let names = names.into_iter().map(Into::into).collect();
        self.change(|state| state.others.push(names));
    }

    /// Breaks all connections, as when the daemon dies. It takes new ones.
    pub fn cut_connections(&self) {
        let cut = self.change(|state| std::mem::take(&mut state.cut));
        cut.cancel();
    }
}

/// What it was asked.
impl FakeBuildkit {
    /// Returns the builds so far, in the order in which they began.
    pub fn builds(&self) -> Vec<BuildRecord> {
        self.state().builds.clone()
    }

    /// Returns the calls so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Waits until `condition` is met, which is asked after each change, and returns what it returned.
    pub async fn until<T>(&self, condition: impl Fn() -> Option<T>) -> T {
        let mut bell = self.inner.bell.subscribe();
        loop {
            if let Some(met) = condition() {
                return met;
            }
            // The sender is in `self`, so this does not fail.
            let _ = bell.changed().await;
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.inner.bell.send_replace(());
        changed
    }
}
