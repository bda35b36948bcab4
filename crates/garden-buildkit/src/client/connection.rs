//! One HTTP/2 connection to a daemon, over any stream of bytes.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use garden_build_core::TraceContext;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codec::{Codec as _, CompressionEncoding};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use tracing::Instrument as _;

use super::{ClientError, message};

/// What the daemon accepts and sends in one message. Source: containerd's `defaults.DefaultMaxRecvMsgSize`.
pub(super) const LARGEST_MESSAGE: usize = 16 << 20;

/// Bytes of one stream that wait here for a slow connection. The daemon's health checks wait behind
/// them and behind what the tunnel, the stream to the pod and the system hold, a few times as much
/// again; the daemon tolerates thirty seconds.
const SEND_BUFFER: usize = 128 << 10;

/// How long a connection that nobody uses any more may take to tell the daemon that builds are cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

/// What the daemon may send before it hears from us again.
const WINDOW: u32 = 2 << 20;

/// Errors travel in trailers, with the Dockerfile and the daemon's stack traces in them.
const LARGEST_HEADERS: u32 = 16 << 20;

/// The call in which the daemon calls us.
const SESSION: &str = "http://buildkit/moby.buildkit.v1.Control/Session";

/// The calls of `moby.buildkit.v1.Control` on this connection.
pub(super) type Control = ControlClient<Connection>;

/// A connection to a daemon. Never dials again: a lost connection is an error of every call.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    requests: http2::SendRequest<Body>,
    /// What each call has besides its own headers.
    trace: HeaderMap,
    /// End soon after the last clone.
    _tasks: Arc<Tasks>,
}

/// What works for a connection: hyper's own tasks hold it open for as long as something that was sent
/// has not left, which is for ever if the other end takes nothing.
#[derive(Debug, Default)]
struct Tasks(Mutex<JoinSet<()>>);

#[derive(Clone, Debug)]
struct Executor(Weak<Tasks>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(task.in_current_span());
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let mut tasks = std::mem::take(self.0.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let all_ended = async { while tasks.join_next().await.is_some() {} };
                // What still runs then is aborted with `tasks`.
                let _patience = tokio::time::timeout(CANCEL_PATIENCE, all_ended).await;
            });
        }
    }
}

impl Connection {
    /// Speaks HTTP/2 on `stream`, without the daemon having said anything yet.
    pub(super) async fn open(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, ClientError> {
        let tasks = Arc::new(Tasks::default());
        let executor = Executor(Arc::downgrade(&tasks));
        let mut builder = http2::Builder::new(executor.clone());
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(LARGEST_HEADERS);
        let (requests, driver) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| ClientError::lost(&error))?;
        hyper::rt::Executor::execute(&executor, async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "the connection to the BuildKit daemon ended");
            }
        });
        Ok(Self { requests, trace: HeaderMap::new(), _tasks: tasks })
    }

    /// Has the daemon's spans of each further call belong to `context`. Source: `BuildKit`, `cmd/buildkitd/main.go` (`propagators`).
    pub(super) fn traced(mut self, context: &TraceContext) -> Self {
        let values = [("traceparent", context.traceparent()), ("tracestate", context.tracestate())];
        // Each fits into a header, by its grammar.
        let headers = values.into_iter().filter(|(_, value)| !value.is_empty());
        self.trace = headers
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), value.parse().ok()?)))
            .collect();
        self
    }

    fn send(
        &self,
        mut request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        request.headers_mut().extend(self.trace.clone());
        self.requests.clone().send_request(request)
    }

    /// Returns the daemon's control service. The daemon looks at no host name.
    pub(super) fn control(&self) -> Control {
        ControlClient::with_origin(self.clone(), Uri::from_static("http://buildkit"))
            .max_decoding_message_size(LARGEST_MESSAGE)
    }

    /// Calls `Control.Session` with `headers`, which sends the `messages` that a
    /// [`Packer`](message::Packer) makes. `tonic` would compress all of them, or none.
    pub(super) async fn session(
        &self,
        mut headers: HeaderMap,
        compressed: bool,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Streaming<BytesMessage>, Status> {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if compressed {
            headers.insert("grpc-encoding", HeaderValue::from_static(message::ENCODING));
        }
        let frames = messages.map(|message| Ok::<_, Status>(Frame::data(message)));
        let mut request = Request::new(Body::new(StreamBody::new(frames)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(SESSION);
        *request.headers_mut() = headers;
        let response = self.send(request).await.map_err(|error| Status::from_error(Box::new(error)))?;
        match Status::from_header_map(response.headers()) {
            Some(status) if status.code() != Code::Ok => return Err(status),
            _ => {}
        }
        let decoder = ProstCodec::<(), BytesMessage>::default().decoder();
        let (status, largest) = (response.status(), Some(LARGEST_MESSAGE));
        // The daemon answers in kind.
        let encoding = compressed.then_some(CompressionEncoding::Gzip);
        Ok(Streaming::new_response(decoder, response.into_body(), status, encoding, largest))
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
        Box::pin(self.send(request))
    }
}
