//! The connection in which the daemon calls the client: within the messages of the call `Session`.
//! Source: `BuildKit`, `session/grpchijack` and `session/grpc.go`.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard_buildkit_proto::health::HealthCheckRequest;
use bollard_buildkit_proto::health::health_client::HealthClient;
use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;
use tonic::body::Body;
use tonic::{Status, Streaming};

use super::FakeBuildkit;
use super::daemon::LARGEST_MESSAGE;

/// The headers in which a client says who its session is.
const ID: &str = "x-docker-expose-session-uuid";
const SHARED_KEY: &str = "x-docker-expose-session-sharedkey";

/// How often a daemon asks whether the client is there. A client may give up one that does not.
const BETWEEN_HEALTH_CHECKS: Duration = Duration::from_secs(5);

/// The buffer between the messages and the HTTP/2 connection within them.
const PIPE: usize = 64 << 10;

/// What a client serves.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) shared_key: String,
    pub(super) channel: Channel,
}

/// The messages that go to the client.
pub(super) type Messages = BoxStream<'static, Result<BytesMessage, Status>>;

/// Takes note of a session, until the client ends it.
pub(super) async fn open(
    daemon: &FakeBuildkit,
    headers: &HeaderMap,
    mut messages: Streaming<BytesMessage>,
) -> Result<Messages, Status> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (id, shared_key) = (text(ID), text(SHARED_KEY));
    let (near, far) = tokio::io::duplex(PIPE);
    let (to_client, mut from_client) = tokio::io::split(far);
    tokio::spawn(async move {
        while let Ok(Some(message)) = messages.message().await {
            from_client.write_all(&message.data).await?;
        }
        from_client.shutdown().await
    });
    let connecting = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(u32::try_from(LARGEST_MESSAGE).unwrap_or(u32::MAX))
        .handshake(TokioIo::new(near));
    let (requests, driver) = connecting.await.map_err(|error| Status::internal(error.to_string()))?;
    let channel = Channel(requests);
    daemon.change(|state| {
        state.sessions.insert(id.clone(), Session { shared_key, channel: channel.clone() });
    });
    let daemon = daemon.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = driver => {}
            () = check_health(channel) => {}
        }
        daemon.change(|state| state.sessions.remove(&id));
    });
    let messages = ReaderStream::new(to_client).map(|bytes: io::Result<_>| match bytes {
        Ok(bytes) => Ok(BytesMessage { data: bytes.to_vec() }),
        Err(error) => Err(Status::internal(error.to_string())),
    });
    Ok(messages.boxed())
}

/// Asks for as long as the client answers.
async fn check_health(channel: Channel) {
    let mut client = HealthClient::with_origin(channel, origin());
    loop {
        tokio::time::sleep(BETWEEN_HEALTH_CHECKS).await;
        if client.check(HealthCheckRequest::default()).await.is_err() {
            return;
        }
    }
}

/// The calls need some name of a host. The client looks at none.
pub(super) fn origin() -> Uri {
    Uri::from_static("http://session")
}

/// Sends the daemon's calls to the client.
#[derive(Clone, Debug)]
pub(super) struct Channel(SendRequest<Body>);

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, hyper::Result<Response<Incoming>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.send_request(request).boxed()
    }
}
