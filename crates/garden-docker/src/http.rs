//! HTTP to a daemon, over connections of any kind.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bollard::Docker;
use futures::future::BoxFuture;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection as Pooled};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tracing::Instrument as _;

use crate::DockerError;
use crate::dial::{Connection, Dial};

/// Connections that nobody needs are closed after this time. One through an API server costs a process in a pod.
const IDLE: std::time::Duration = std::time::Duration::from_secs(10);

/// What bollard puts into requests.
type Body = http_body_util::Either<
    http_body_util::Full<bytes::Bytes>,
    http_body_util::StreamBody<
        Pin<Box<dyn futures::Stream<Item = Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>> + Send>>,
    >,
>;

/// A client that opens its connections with `dial`.
pub(crate) fn client(dial: &Arc<dyn Dial>) -> Client<Connector, Body> {
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(Connector(Arc::clone(dial)))
}

/// Asks the daemon to speak HTTP/2 on a connection from now on. `None` if it knows no such `path`.
///
/// # Errors
/// If it cannot be reached, or answers anything else.
pub(crate) async fn upgrade(
    dial: &Arc<dyn Dial>,
    path: &str,
) -> Result<Option<TokioIo<Upgraded>>, DockerError> {
    let address = dial.address();
    let broken = |error: hyper::Error| DockerError::broken(address, error);
    let (mut requests, connection) =
        http1::handshake(TokioIo::new(dial.dial().await?)).await.map_err(broken)?;
    // Ends with the connection.
    tokio::spawn(connection.with_upgrades().in_current_span());
    let request = Request::post(path)
        .header(HOST, "docker")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "h2c")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .map_err(|error| DockerError::broken(address, error))?;
    let response = requests.send_request(request).await.map_err(broken)?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => {
            Ok(Some(TokioIo::new(hyper::upgrade::on(response).await.map_err(broken)?)))
        }
        StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
        status => Err(DockerError::broken(address, format!("{path} was answered with {status}"))),
    }
}

/// Opens connections for hyper.
#[derive(Clone, Debug)]
pub(crate) struct Connector(Arc<dyn Dial>);

impl tower::Service<Uri> for Connector {
    type Response = Dialled;
    type Error = NotDialled;
    type Future = BoxFuture<'static, Result<Dialled, NotDialled>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotDialled>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = Arc::clone(&self.0);
        Box::pin(async move {
            let dialled = dial.dial().await;
            dialled
                .map(|stream| Dialled(TokioIo::new(stream)))
                .map_err(|error| NotDialled(Mutex::new(Some(error))))
        })
    }
}

/// A connection, as hyper uses it.
pub(crate) struct Dialled(TokioIo<Box<dyn Connection>>);

impl Pooled for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Carries the reason why a connection could not be opened through hyper and bollard, which know only that it could not.
#[derive(Debug)]
pub(crate) struct NotDialled(Mutex<Option<DockerError>>);

impl NotDialled {
    /// Takes the reason out of an error that it may be the cause of.
    pub(crate) fn reason(error: &(dyn StdError + 'static)) -> Option<DockerError> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(Self(reason)) = error.downcast_ref() {
                return reason.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            cause = error.source();
        }
        None
    }
}

impl fmt::Display for NotDialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => write!(f, "{error}"),
            None => f.write_str("the daemon cannot be reached"),
        }
    }
}

impl StdError for NotDialled {}

/// Sends a request of bollard's.
pub(crate) async fn send(
    client: Client<Connector, Body>,
    mut request: Request<Body>,
) -> Result<Response<Incoming>, bollard::errors::Error> {
    // The daemon is found by the connection. bollard would name the address, which need not be one of HTTP.
    request.headers_mut().insert(HOST, http::HeaderValue::from_static("docker"));
    client.request(request).await.map_err(Into::into)
}

/// Returns a client whose requests have these parameters, too.
pub(crate) fn with_query(docker: &Docker, query: String) -> Docker {
    if query.is_empty() {
        return docker.clone();
    }
    docker.clone().with_request_modifier(move |mut request| {
        let uri = request.uri();
        let joint = if uri.query().is_some() { '&' } else { '?' };
        // What is joined are two valid parts.
        if let Ok(longer) = format!("{uri}{joint}{query}").parse() {
            *request.uri_mut() = longer;
        }
        request
    })
}
