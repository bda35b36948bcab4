use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Sink, SinkExt, Stream};
use kube::api::AttachParams;
use kube::core::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::api::{Cluster, ClusterError};
use crate::pod::socket::{CLOSE, STATUS, STDERR, STDIN, STDOUT, Socket, connect};

/// Channels of the port-forward protocol for its first port. The first message on each carries the
/// port's number in two bytes and no data.
/// Source: Kubernetes, `k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go`.
const FORWARDED: u8 = 0;
const FORWARD_ERROR: u8 = 1;

/// What is collected into one message. Every message is copied at each of the four hops to the
/// container, so few large ones are quicker, up to the buffers of these hops.
const MESSAGE: usize = 64 << 10;

/// How much of a command's standard error stream is kept, to explain its end.
const COMPLAINT: usize = 4 << 10;

/// A stream of bytes to a pod and back, through the API server.
///
/// The library below (tungstenite) shows what is sent in its log at level `trace`: never let a program
/// whose streams carry secrets log at that level.
///
/// Has no task of its own: reading and writing make progress when they are polled, and neither
/// waits for the other. What was written leaves when a message is full or at a flush.
pub struct PodStream {
    target: String,
    socket: Socket,
    protocol: Protocol,
    unread: Bytes,
    /// Begins with the byte of the channel.
    unsent: BytesMut,
    end: Option<End>,
    closing: Closing,
}

/// How a stream ended that has nothing more to read.
enum End {
    Clean,
    /// It stays one, however often it is read.
    Cut(String),
}

/// How far we are with saying that nothing more is written.
#[derive(Clone, Copy, PartialEq)]
enum Closing {
    Open,
    /// What closes the command's input is written, but has perhaps not left.
    Input,
    InputClosed,
}

enum Protocol {
    Process { shutdown: Shutdown, complaint: Vec<u8> },
    PortForward { announced: [bool; 2] },
}

/// What is done when nothing more is written.
#[derive(Clone, Copy, PartialEq)]
enum Shutdown {
    /// The process sees the end of its input.
    Input,
    /// The older protocol cannot say that, so the connection is closed.
    Connection,
    /// Nothing, as closing the connection would take from the process what it has not read yet.
    Nothing,
}

impl std::fmt::Debug for PodStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodStream").field("target", &self.target).finish_non_exhaustive()
    }
}

impl PodStream {
    /// Runs `command` in `container`, and connects its standard input and output. The command's end is
    /// the end of the stream; if it failed, reading fails with what it said.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn exec(
        cluster: &Cluster,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
    ) -> Result<Self, ClusterError> {
        let target = format!("{} in Pod {namespace}/{pod}", command.join(" "));
        let parameters = parameters(container).stdout(true).stderr(true);
        let request = |pods: Request| pods.exec(pod, command.iter().copied(), &parameters);
        let connection = connect(cluster, namespace, &format!("run {target}"), request).await?;
        let can_close = connection.supports_stream_close();
        let shutdown = if can_close { Shutdown::Input } else { Shutdown::Connection };
        let protocol = Protocol::Process { shutdown, complaint: Vec::new() };
        Ok(Self::new(target, connection.into_stream(), protocol))
    }

    /// Connects to the standard input of `container`, which runs, and to nothing else: output that is attached
    /// late loses its beginning, so it is read with [`follow_log`](crate::follow_log). The container's end is the
    /// end of the stream.
    ///
    /// A shutdown closes the container's input where the protocol can do that, and never the connection.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or the container does not run.
    pub async fn attach(
        cluster: &Cluster,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<Self, ClusterError> {
        let target = format!("stdin of Pod {namespace}/{pod}");
        let parameters = parameters(container).stdout(false).stderr(false);
        let request = |pods: Request| pods.attach(pod, &parameters);
        let connection = connect(cluster, namespace, &format!("attach to {target}"), request).await?;
        let can_close = connection.supports_stream_close();
        let shutdown = if can_close { Shutdown::Input } else { Shutdown::Nothing };
        let protocol = Protocol::Process { shutdown, complaint: Vec::new() };
        Ok(Self::new(target, connection.into_stream(), protocol))
    }

    /// Connects to `port` of the pod, on its loopback interface.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached. That nobody listens on the port shows when
    /// the stream is read.
    pub async fn port_forward(
        cluster: &Cluster,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<Self, ClusterError> {
        let target = format!("port {port} of Pod {namespace}/{pod}");
        let request = |pods: Request| pods.portforward(pod, &[port]);
        let connection = connect(cluster, namespace, &format!("connect to {target}"), request).await?;
        let protocol = Protocol::PortForward { announced: [false; 2] };
        Ok(Self::new(target, connection.into_stream(), protocol))
    }

    /// Returns what is at the other end, for messages.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Shows everybody on the way that the connection is in use.
    pub(crate) async fn ping(&mut self) -> io::Result<()> {
        let sent = self.socket.send(Message::Ping(Bytes::new())).await;
        sent.map_err(|error| self.broken(&error))
    }

    fn new(target: String, socket: Socket, protocol: Protocol) -> Self {
        Self {
            target,
            socket,
            protocol,
            unread: Bytes::new(),
            unsent: BytesMut::new(),
            end: None,
            closing: Closing::Open,
        }
    }

    /// Hands the collected message to the socket, without waiting for it to leave.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.socket.poll_ready_unpin(context)).map_err(|error| self.broken(&error))?;
        let message = Message::Binary(self.unsent.split().freeze());
        Poll::Ready(self.socket.start_send_unpin(message).map_err(|error| self.broken(&error)))
    }

    /// Takes a message apart. Returns what the stream's end means, if this is its end.
    fn receive(&mut self, mut message: Bytes) -> Option<End> {
        if message.is_empty() {
            return None;
        }
        let channel = message.get_u8();
        match &mut self.protocol {
            Protocol::Process { complaint, .. } => match channel {
                STDOUT => self.unread = message,
                STDERR => {
                    let room = COMPLAINT.saturating_sub(complaint.len());
                    complaint.extend_from_slice(&message[..message.len().min(room)]);
                }
                // Empty, it only says that the server has opened the channel.
                STATUS if !message.is_empty() => return Some(judge(&message)),
                _ => {}
            },
            Protocol::PortForward { announced } => {
                let announced = announced.get_mut(usize::from(channel))?;
                if std::mem::replace(announced, true) {
                    match channel {
                        FORWARDED => self.unread = message,
                        FORWARD_ERROR => {
                            return Some(End::Cut(String::from_utf8_lossy(&message).into_owned()));
                        }
                        _ => {}
                    }
                }
            }
        }
        None
    }

    fn broken(&self, error: &tungstenite::Error) -> io::Error {
        self.cut(&reason(error))
    }

    fn cut(&self, reason: &str) -> io::Error {
        let mut reason = reason.trim().to_owned();
        if let Protocol::Process { complaint, .. } = &self.protocol {
            let complaint = String::from_utf8_lossy(complaint);
            if !complaint.trim().is_empty() {
                reason = format!("{reason}: {}", complaint.trim());
            }
        }
        io::Error::other(ClusterError::StreamCut { target: self.target.clone(), reason })
    }
}

/// Asks for the standard input of `container`.
fn parameters(container: &str) -> AttachParams {
    AttachParams::default().container(container).stdin(true).tty(false)
}

const CLOSED: &str = "the connection was closed";

/// Explains what the status with which a command ended means.
fn judge(status: &[u8]) -> End {
    match serde_json::from_slice::<kube::core::Status>(status) {
        Ok(status) if status.is_success() => End::Clean,
        Ok(status) => End::Cut(status.message),
        Err(_) => End::Cut(String::from_utf8_lossy(status).into_owned()),
    }
}

fn reason(error: &tungstenite::Error) -> String {
    match error {
        // rustls explains at length, with a link, what a connection is that just ended.
        tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        error => error.to_string(),
    }
}

impl AsyncRead for PodStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match &self.end {
                Some(End::Clean) => return Poll::Ready(Ok(())),
                Some(End::Cut(reason)) => return Poll::Ready(Err(self.cut(reason))),
                None => {}
            }
            self.end = match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(message))) => self.receive(message),
                Some(Ok(Message::Close(_))) | None => Some(End::Cut(CLOSED.to_owned())),
                Some(Ok(_)) => None,
                Some(Err(error)) => Some(End::Cut(reason(&error))),
            };
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PodStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.closing != Closing::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.unsent.len() >= MESSAGE {
            ready!(self.poll_send(context))?;
        }
        if self.unsent.is_empty() {
            let channel = match self.protocol {
                Protocol::Process { .. } => STDIN,
                Protocol::PortForward { .. } => FORWARDED,
            };
            self.unsent.reserve(MESSAGE);
            self.unsent.put_u8(channel);
        }
        let before = self.unsent.len();
        for slice in slices {
            let room = MESSAGE - self.unsent.len();
            self.unsent.put_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(self.unsent.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        let flushed = ready!(self.socket.poll_flush_unpin(context));
        Poll::Ready(flushed.map_err(|error| self.broken(&error)))
    }

    /// Where the protocol can close a process's input alone, what the process still says can be read.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing == Closing::Open {
            ready!(self.as_mut().poll_flush(context))?;
            match self.protocol {
                Protocol::Process { shutdown: Shutdown::Input, .. } => {
                    self.closing = Closing::Input;
                    self.unsent.extend_from_slice(&[CLOSE, STDIN]);
                }
                Protocol::Process { shutdown: Shutdown::Nothing, .. } => self.closing = Closing::InputClosed,
                _ => {}
            }
        }
        if self.closing == Closing::Input {
            ready!(self.as_mut().poll_flush(context))?;
            self.closing = Closing::InputClosed;
        }
        if self.closing == Closing::InputClosed {
            return Poll::Ready(Ok(()));
        }
        let closed = ready!(Pin::new(&mut self.socket).poll_close(context));
        Poll::Ready(closed.map_err(|error| self.broken(&error)))
    }
}
