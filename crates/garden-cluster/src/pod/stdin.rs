use std::convert::Infallible;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, Stream, StreamExt};
use garden_build_core::Error;
use kube::api::AttachParams;
use kube::core::Request;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::api::{Cluster, ClusterError};
use crate::pod::socket::{CLOSE, STATUS, STDIN, Socket, connect};

/// How long the far side may take nothing before the stream counts as dead.
const STALLED_AFTER: Duration = Duration::from_secs(120);

/// Proxies between here and the node drop connections that look idle.
const PING_EVERY: Duration = Duration::from_secs(30);

/// A stream into the stdin of a running container, through the API server.
///
/// That everything was sent says nothing about what arrived; only the container can confirm that.
/// So the connection stays open until [`UploadedStdin::hold`] is dropped.
pub struct StdinUpload {
    target: String,
    socket: Socket,
    can_close: bool,
}

impl std::fmt::Debug for StdinUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdinUpload").field("target", &self.target).finish_non_exhaustive()
    }
}

impl StdinUpload {
    /// Attaches to the stdin of `container`, and to nothing else: output that is attached late
    /// loses its beginning, so it is read with [`follow_log`](crate::follow_log).
    ///
    /// # Errors
    /// If the API server refuses, or the container does not run.
    pub async fn open(
        cluster: &Cluster,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<Self, ClusterError> {
        let target = format!("stdin of Pod {namespace}/{pod}");
        let parameters = AttachParams {
            container: Some(container.to_owned()),
            stdin: true,
            stdout: false,
            stderr: false,
            tty: false,
            ..AttachParams::default()
        };
        let request = |pods: Request| pods.attach(pod, &parameters);
        let connection = connect(cluster, namespace, &format!("attach to {target}"), request).await?;
        let can_close = connection.supports_stream_close();
        Ok(Self { socket: connection.into_stream(), target, can_close })
    }

    /// Sends all of `chunks`, then closes stdin. Holds one chunk at a time. `on_sent` is called after
    /// each of them.
    ///
    /// # Errors
    /// [`ClusterError::StreamCut`] if the far side closed, took nothing for two minutes, or
    /// reported an error. Errors of `chunks` are passed on.
    pub async fn send(
        self,
        mut chunks: impl Stream<Item = Result<Bytes, Error>> + Unpin,
        mut on_sent: impl FnMut(),
    ) -> Result<UploadedStdin, Error> {
        let Self { target, socket, can_close } = self;
        let (mut sink, mut stream) = socket.split();
        let sending = async {
            while let Some(chunk) = chunks.next().await {
                write(&mut sink, &target, frame(STDIN, &chunk?)).await?;
                on_sent();
            }
            if can_close {
                write(&mut sink, &target, frame(CLOSE, &[STDIN])).await?;
            }
            Ok::<(), Error>(())
        };
        tokio::select! {
            // A far side that reports an error is more telling than the broken pipe that follows.
            biased;
            reason = closed(&mut stream) => return Err(ClusterError::StreamCut { target, reason }.into()),
            sent = sending => sent?,
        }
        Ok(UploadedStdin { sink, stream })
    }
}

/// A stream into which everything was sent, kept open until the container has read it.
pub struct UploadedStdin {
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
}

impl std::fmt::Debug for UploadedStdin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadedStdin").finish_non_exhaustive()
    }
}

impl UploadedStdin {
    /// Keeps the connection alive for as long as the future is polled.
    pub async fn hold(mut self) -> Infallible {
        let pinging = async {
            loop {
                tokio::time::sleep(PING_EVERY).await;
                if self.sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
            }
        };
        // A connection that ends now does no harm: if the container had not read everything, it
        // fails by itself.
        tokio::select! {
            () = pinging => {}
            reason = closed(&mut self.stream) => tracing::trace!(reason, "stdin stream closed"),
        }
        std::future::pending().await
    }
}

async fn write(
    sink: &mut SplitSink<Socket, Message>,
    target: &str,
    message: Message,
) -> Result<(), ClusterError> {
    let cut = |reason: String| ClusterError::StreamCut { target: target.to_owned(), reason };
    match timeout(STALLED_AFTER, sink.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(cut(error.to_string())),
        Err(_) => Err(cut(format!("the far side took nothing for {} s", STALLED_AFTER.as_secs()))),
    }
}

/// Reads, and so answers pings, until the connection ends; returns how it ended.
async fn closed(stream: &mut SplitStream<Socket>) -> String {
    loop {
        match stream.next().await {
            None => return "the connection was closed".to_owned(),
            Some(Err(error)) => return error.to_string(),
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                return reason.unwrap_or_else(|| "the connection was closed".to_owned());
            }
            // An empty message on a channel only says that the server has opened it.
            Some(Ok(Message::Binary(message))) if message.first() == Some(&STATUS) && message.len() > 1 => {
                let status: Option<kube::core::Status> = serde_json::from_slice(&message[1..]).ok();
                return status.map_or_else(
                    || String::from_utf8_lossy(&message[1..]).into_owned(),
                    |status| {
                        if status.message.is_empty() {
                            "the session ended".to_owned()
                        } else {
                            status.message
                        }
                    },
                );
            }
            Some(Ok(_)) => {}
        }
    }
}

fn frame(channel: u8, data: &[u8]) -> Message {
    let mut frame = BytesMut::with_capacity(data.len() + 1);
    frame.put_u8(channel);
    frame.put_slice(data);
    Message::Binary(frame.freeze())
}
