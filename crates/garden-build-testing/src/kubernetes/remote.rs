//! Streams to and from pods, over WebSocket.
//! Source: Kubernetes, `k8s.io/kubelet/pkg/cri/streaming/{remotecommand,portforward}/websocket.go` and
//! `k8s.io/apimachinery/pkg/util/remotecommand/constants.go`.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::cluster::FakeCluster;
use super::pod::FakePod;
use super::program::{Connection, End, Process, Program};
use super::refusal::Refusal;
use super::request::Request;
use super::server::Body;

const V4: &str = "v4.channel.k8s.io";
const V5: &str = "v5.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Closes the channel whose number follows; version 5 only.
const CLOSE: u8 = 255;

/// Channels of a port-forward's first port.
const DATA: u8 = 0;
const FAILURE: u8 = 1;

/// The buffer of each stream of a process, as a pipe has one.
const PIPE: usize = 64 << 10;
/// What is sent in one message at most.
const MESSAGE: usize = 32 << 10;

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Out = SplitSink<Socket, Message>;

/// Answers a request for a stream, and serves it.
pub(crate) fn upgrade(
    cluster: &FakeCluster,
    request: &Request,
    command: &str,
    pod: FakePod,
    on_upgrade: OnUpgrade,
) -> Result<Response<Body>, Refusal> {
    let is_websocket = request.header("upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket"));
    let (true, Some(key)) = (is_websocket, request.header("sec-websocket-key")) else {
        return Err(Refusal::bad_request("Upgrade request required"));
    };
    let offered: Vec<&str> =
        request.header("sec-websocket-protocol").unwrap_or_default().split(',').map(str::trim).collect();
    let spoken: &[&'static str] = if cluster.has_old_streams() { &[V4] } else { &[V5, V4] };
    let Some(protocol) = spoken.iter().find(|it| offered.contains(it)) else {
        return Err(Refusal::bad_request(format!(
            "unable to negotiate protocol: client supports {offered:?}"
        )));
    };
    let serving =
        Serving { cluster: cluster.clone(), can_close: *protocol == V5, cuts: cluster.stream_cuts() };
    if command == "portforward" {
        let ports = request.parameter("ports").and_then(|ports| ports.split(',').next()?.parse().ok());
        let port: u16 = ports.ok_or_else(|| Refusal::bad_request("query parameter \"ports\" is required"))?;
        tokio::spawn(async move {
            if let Ok(upgraded) = on_upgrade.await {
                serving.forward(websocket(upgraded).await, pod, port).await;
            }
        });
    } else {
        let started =
            cluster.container_that_started(&pod.namespace, &pod.name, request.parameter("container"));
        let container = started.map_err(|_| {
            let container = request.parameter("container").unwrap_or_default();
            Refusal::internal(format!("unable to upgrade connection: container not found (\"{container}\")"))
        })?;
        let program = cluster.program(command);
        let words = request.query.iter().filter(|(name, _)| name == "command").map(|(_, word)| word.clone());
        let words: Vec<String> = words.collect();
        let wants = Wanted { stdout: request.is_true("stdout"), stderr: request.is_true("stderr") };
        tokio::spawn(async move {
            if let Ok(upgraded) = on_upgrade.await {
                serving.run(websocket(upgraded).await, program, pod, container, words, wants).await;
            }
        });
    }
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(accepted) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    }
    Ok(answer)
}

async fn websocket(upgraded: Upgraded) -> Socket {
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await
}

/// Which outputs of a process the client asked for; the others go nowhere.
#[derive(Clone, Copy)]
struct Wanted {
    stdout: bool,
    stderr: bool,
}

struct Serving {
    cluster: FakeCluster,
    can_close: bool,
    cuts: u64,
}

impl Serving {
    async fn run(
        self,
        socket: Socket,
        program: Option<Program>,
        pod: FakePod,
        container: String,
        command: Vec<String>,
        wanted: Wanted,
    ) {
        let (mut out, input) = socket.split();
        let (stdin, to_stdin) = duplex(PIPE);
        let (stdout, mut from_stdout) = duplex(PIPE);
        let (stderr, mut from_stderr) = duplex(PIPE);
        let name = command.first().cloned().unwrap_or_default();
        // Runs on if the client goes, as in a container.
        let running = tokio::spawn(async move {
            match program {
                Some(program) => program(Process { pod, container, command, stdin, stdout, stderr }).await,
                None => End::Failed(format!("exec: \"{name}\": executable file not found in $PATH: unknown")),
            }
        });
        let taking = async {
            self.take(input, to_stdin).await;
            std::future::pending::<()>().await;
        };
        let giving = async {
            // Says that all is connected.
            let first = if wanted.stdout {
                STDOUT
            } else if wanted.stderr {
                STDERR
            } else {
                STATUS
            };
            out.send(message(first, &[])).await?;
            let mut buffers = (vec![0; MESSAGE], vec![0; MESSAGE]);
            let (mut has_stdout, mut has_stderr) = (true, true);
            while has_stdout || has_stderr {
                tokio::select! {
                    read = from_stdout.read(&mut buffers.0), if has_stdout => {
                        has_stdout = give(&mut out, STDOUT, &buffers.0, read, wanted.stdout).await?;
                    }
                    read = from_stderr.read(&mut buffers.1), if has_stderr => {
                        has_stderr = give(&mut out, STDERR, &buffers.1, read, wanted.stderr).await?;
                    }
                }
            }
            let end = running.await.unwrap_or_else(|error| End::Failed(error.to_string()));
            if let Some(status) = status(&end) {
                out.send(message(STATUS, status.to_string().as_bytes())).await?;
                out.close().await?;
            }
            Ok::<_, Error>(())
        };
        tokio::select! {
            _ = giving => {}
            () = taking => {}
            () = self.cut() => {}
        }
    }

    /// Brings what the client writes to the process, until the client closes or goes.
    async fn take(&self, mut input: SplitStream<Socket>, to_stdin: DuplexStream) {
        let mut to_stdin = Some(to_stdin);
        while let Some(Ok(received)) = input.next().await {
            let Message::Binary(bytes) = received else { continue };
            let is_open = match bytes.split_first() {
                // A process that reads no more does not stop the others.
                Some((&STDIN, data)) => match &mut to_stdin {
                    Some(pipe) => pipe.write_all(data).await.is_ok(),
                    None => false,
                },
                Some((&CLOSE, [STDIN])) => !self.can_close,
                _ => continue,
            };
            if !is_open {
                to_stdin = None;
            }
        }
    }

    async fn forward(self, socket: Socket, pod: FakePod, port: u16) {
        let (mut out, input) = socket.split();
        let named = |channel| message(channel, &port.to_le_bytes());
        let Some(listener) = self.cluster.listener() else {
            let reason = format!(
                "error forwarding port {port} to pod {}: failed to connect to localhost:{port} inside namespace: dial tcp4 127.0.0.1:{port}: connect: connection refused",
                pod.uid
            );
            for sent in [named(DATA), named(FAILURE), message(FAILURE, reason.as_bytes())] {
                if out.send(sent).await.is_err() {
                    return;
                }
            }
            let _ = out.close().await;
            return;
        };
        let (theirs, ours) = duplex(PIPE);
        let listening = tokio::spawn(listener(Connection { pod, port, stream: theirs }));
        let (from_pod, to_pod) = tokio::io::split(ours);
        let giving = async {
            out.send(named(DATA)).await?;
            out.send(named(FAILURE)).await?;
            give_all(&mut out, DATA, from_pod).await?;
            out.close().await
        };
        tokio::select! {
            _ = giving => {}
            () = take_all(input, to_pod) => {}
            () = self.cut() => listening.abort(),
        }
    }

    /// Completes when a test cuts all streams.
    async fn cut(&self) {
        self.cluster.until(|| (self.cluster.stream_cuts() != self.cuts).then_some(())).await;
    }
}

/// Passes on what was read. Returns whether there may be more.
async fn give(
    out: &mut Out,
    channel: u8,
    buffer: &[u8],
    read: std::io::Result<usize>,
    is_wanted: bool,
) -> Result<bool, Error> {
    let length = read.unwrap_or(0);
    if length > 0 && is_wanted {
        out.send(message(channel, &buffer[..length])).await?;
    }
    Ok(length > 0)
}

async fn give_all(out: &mut Out, channel: u8, mut from: ReadHalf<DuplexStream>) -> Result<(), Error> {
    let mut buffer = vec![0; MESSAGE];
    loop {
        let read = from.read(&mut buffer).await;
        if !give(out, channel, &buffer, read, true).await? {
            return Ok(());
        }
    }
}

async fn take_all(mut input: SplitStream<Socket>, mut to: WriteHalf<DuplexStream>) {
    while let Some(Ok(received)) = input.next().await {
        if let Message::Binary(bytes) = received
            && let Some((&DATA, data)) = bytes.split_first()
            && to.write_all(data).await.is_err()
        {
            return;
        }
    }
}

/// Returns what the server says at the end. Source: Kubernetes, `ServeExec` in `k8s.io/kubelet/pkg/cri/streaming/remotecommand/exec.go`.
fn status(end: &End) -> Option<Value> {
    match end {
        End::Exit(0) => Some(json!({ "metadata": {}, "status": "Success" })),
        End::Exit(code) => Some(json!({
            "metadata": {}, "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        })),
        End::Failed(message) => Some(Refusal::internal(message.clone()).status()),
        End::Cut => None,
    }
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(Bytes::from(bytes))
}
