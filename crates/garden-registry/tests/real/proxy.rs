//! A proxy between client and registry that lets a test spoil requests and answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt, stream};
use http::header::CONTENT_LENGTH;
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::support::{Answer, Seen};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What happens to a request and its answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The registry is not asked; this is answered.
    Instead(Answer),
    /// The connection ends before the registry is asked.
    Cut,
    /// The registry does what it is asked to do, and the connection ends before its answer.
    LostAnswer,
    /// The connection ends when so many bytes of what is sent to the registry have passed.
    CutAfterSending(usize),
    /// The connection ends when so many bytes of what the registry answers have passed.
    CutAfterReceiving(usize),
    /// The answer ends after so many bytes, as if that was all.
    Truncated(usize),
    /// The answer has as many bytes as it should, but one of them is another.
    Changed,
    /// The answer comes in small pieces with such pauses.
    Slow(Duration),
}

type Decide = dyn Fn(&Seen) -> Fault + Send + Sync;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    passing: Passing,
}

#[derive(Clone)]
struct Passing {
    registry: SocketAddr,
    decide: Arc<Decide>,
    seen: Arc<Mutex<Vec<Seen>>>,
    client: Client<HttpConnector, Body>,
}

impl Proxy {
    /// Starts a proxy before `registry`, which `decide` tells what to do with each request.
    pub(crate) async fn start(
        registry: SocketAddr,
        decide: impl Fn(&Seen) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let passing = Passing { registry, decide: Arc::new(decide), seen: Arc::default(), client };
        let serving = passing.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let passing = serving.clone();
                let pass = service_fn(move |request| passing.clone().pass(request));
                let connection = hyper::server::conn::http1::Builder::new();
                let connection = connection.serve_connection(TokioIo::new(stream), pass);
                // That it ends with an error is what many of the faults are.
                tokio::spawn(async move { connection.await.ok() });
            }
        });
        Self { address, passing }
    }

    /// What passed, or should have. Without bodies.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.passing.seen.lock().expect("no panic").clone()
    }
}

impl Passing {
    /// An error ends the connection.
    async fn pass(self, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let (mut parts, body) = request.into_parts();
        let seen = Seen::new(&parts);
        let fault = (self.decide)(&seen);
        self.seen.lock().expect("no panic").push(seen);
        let body = match fault {
            Fault::Instead(answer) => {
                // Read to its end, so that the client sees the answer and not a broken connection.
                body.collect().await?;
                return Ok(answer.map(whole));
            }
            Fault::Cut => return Err("the connection is cut".into()),
            Fault::CutAfterSending(bytes) => cut_after(body, bytes),
            _ => body.map_err(Into::into).boxed_unsync(),
        };
        let path = parts.uri.path_and_query().expect("a path").as_str();
        parts.uri = format!("http://{}{path}", self.registry).parse::<Uri>()?;
        let (mut parts, body) = self.client.request(Request::from_parts(parts, body)).await?.into_parts();
        let body = match fault {
            Fault::LostAnswer => return Err("the answer is lost".into()),
            Fault::CutAfterReceiving(bytes) => cut_after(body, bytes),
            Fault::Truncated(bytes) => {
                parts.headers.remove(CONTENT_LENGTH);
                let content = body.collect().await?.to_bytes();
                whole(content.slice(..bytes.min(content.len())))
            }
            Fault::Changed => {
                let mut content = body.collect().await?.to_bytes().to_vec();
                if let Some(byte) = content.last_mut() {
                    *byte ^= 1;
                }
                whole(content.into())
            }
            Fault::Slow(pause) => slow(body, pause),
            _ => body.map_err(Into::into).boxed_unsync(),
        };
        Ok(Response::from_parts(parts, body))
    }
}

fn whole(content: Bytes) -> Body {
    http_body_util::Full::new(content).map_err(|never| match never {}).boxed_unsync()
}

fn cut_after(body: Incoming, bytes: usize) -> Body {
    let mut left = bytes;
    let frames = TryStreamExt::map_err(BodyStream::new(body), BoxError::from).and_then(move |frame| {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let rest = left.checked_sub(length);
        let kept = std::mem::replace(&mut left, rest.unwrap_or_default());
        std::future::ready(match (rest, frame.into_data()) {
            (Some(_), Ok(data)) => Ok(Frame::data(data)),
            (None, Ok(data)) if kept > 0 => Ok(Frame::data(data.slice(..kept))),
            _ => Err("the connection is cut".into()),
        })
    });
    StreamBody::new(frames).boxed_unsync()
}

fn slow(body: Incoming, pause: Duration) -> Body {
    let pieces = body.into_data_stream().map_err(BoxError::from).flat_map(|piece| {
        let pieces: Vec<Result<Bytes, BoxError>> = match piece {
            Ok(piece) => piece.chunks(8 * 1024).map(|part| Ok(Bytes::copy_from_slice(part))).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(pieces)
    });
    let frames = pieces.then(move |piece| async move {
        tokio::time::sleep(pause).await;
        piece.map(Frame::data)
    });
    StreamBody::new(frames).boxed_unsync()
}
