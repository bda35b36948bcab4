//! One HTTP/2 connection to a daemon, over any stream of bytes.

use std::task::{Context, Poll};

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;

use super::ClientError;

/// What the daemon accepts and sends in one message. Source: containerd's `defaults.DefaultMaxRecvMsgSize`.
pub(super) const LARGEST_MESSAGE: usize = 16 << 20;

/// Bytes that wait here for a slow connection. The daemon's health checks wait behind them, so
/// on a connection of 100 KB/s this is a delay of five seconds; the daemon tolerates thirty.
const SEND_BUFFER: usize = 256 << 10;

/// What the daemon may send before it hears from us again.
const WINDOW: u32 = 2 << 20;

/// Errors travel in trailers, with the Dockerfile and the daemon's stack traces in them.
const LARGEST_HEADERS: u32 = 16 << 20;

/// The calls of `moby.buildkit.v1.Control` on this connection.
pub(super) type Control = ControlClient<Connection>;

/// A connection to a daemon. Never dials again: a lost connection is an error of every call.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    requests: http2::SendRequest<Body>,
    /// Ends with the last clone.
    _driver: std::sync::Arc<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Speaks HTTP/2 on `stream`, without the daemon having said anything yet.
    pub(super) async fn open(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, ClientError> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(LARGEST_HEADERS);
        let (requests, driver) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| ClientError::lost(&error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "the connection to the BuildKit daemon ended");
            }
        });
        Ok(Self { requests, _driver: std::sync::Arc::new(AbortOnDropHandle::new(driver)) })
    }

    /// Returns the daemon's control service. The daemon looks at no host name.
    pub(super) fn control(&self) -> Control {
        ControlClient::with_origin(self.clone(), Uri::from_static("http://buildkit"))
            .max_decoding_message_size(LARGEST_MESSAGE)
    }
}

impl tower::Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}
