//! From connections to requests, and from answers to what is sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use http::{Request as HttpRequest, Response as HttpResponse};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::answer::{Response, not_served};
use super::fault::Effect;
use super::request::Request;
use super::route::{Resource, Route};
use super::state::Shared;
use super::{Registry, answer, storage, upload};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Whose requests are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Registry,
    /// Where blobs are, of a registry that redirects to them.
    Storage,
}

/// Serves all who connect, until it is aborted, which breaks their connections.
pub(crate) async fn listen(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>, side: Side) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Such as for want of descriptors, which other tests of the process give back.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (tls, shared) = (tls.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    let _counted = shared.count_connection();
                    match tls {
                        None => serve(shared, stream, side).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(shared, stream, side).await;
                            }
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection.
pub(crate) async fn serve(shared: Arc<Shared>, stream: impl AsyncRead + AsyncWrite + Unpin, side: Side) {
    let answer = service_fn(|request| handle(Arc::clone(&shared), request, side));
    let connection = hyper::server::conn::http1::Builder::new();
    // That it ends with an error is what many of the faults are.
    let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
}

/// Answers one request. An error breaks the connection.
async fn handle(
    shared: Arc<Shared>,
    request: HttpRequest<Incoming>,
    side: Side,
) -> Result<HttpResponse<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let mut request = Request::new(&parts);
    let fault = shared.lock().strike(&request);
    let most = if let Some(Effect::CutRequest(most)) = fault { Some(most) } else { None };
    let (body, is_cut) = read(body, most).await;
    request.body = body;
    let number = shared.lock().note(&request);
    if is_cut {
        shared.lock().keep_part(&request);
        return Err("the connection is broken in the request".into());
    }
    match &fault {
        Some(Effect::Cut) => return Err("the connection is broken before the answer".into()),
        Some(Effect::Silent) => std::future::pending().await,
        Some(Effect::Delay(by)) => tokio::time::sleep(*by).await,
        Some(Effect::Hold(gate)) => gate.pass().await,
        Some(Effect::Meddle(meddle)) => meddle(&Registry::within(&shared), &request),
        Some(Effect::ForgetUploads) => shared.lock().store.forget_uploads(),
        _ => {}
    }
    let answer = match &fault {
        Some(Effect::Answer(answer)) => answer(&request),
        _ => shared.lock().carry_out(&request, side),
    };
    if let Some(Effect::Lose) = fault {
        return Err("the answer is lost".into());
    }
    shared.lock().note_status(number, answer.status());
    let most = if let Some(Effect::CutAnswer(most)) = fault { Some(most) } else { None };
    Ok(sent(answer, request.method == "HEAD", most))
}

/// Reads a body: as a whole, or so much of it. Also returns whether it was longer, or broke off.
async fn read(body: Incoming, most: Option<usize>) -> (Bytes, bool) {
    let mut whole = BytesMut::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return (whole.freeze(), true) };
        whole.extend_from_slice(&piece);
        if let Some(most) = most.filter(|most| whole.len() > *most) {
            whole.truncate(most);
            return (whole.freeze(), true);
        }
    }
    (whole.freeze(), false)
}

/// How much of a broken body is handed over at once, in bytes.
const PIECE: usize = 16 << 10;

/// Makes what is sent of an answer: without its body for a HEAD, and with a break after so many bytes.
fn sent(answer: Response, is_head: bool, most: Option<usize>) -> HttpResponse<Body> {
    let (mut parts, body) = answer.into_parts();
    let length = body.len();
    parts.headers.entry(http::header::CONTENT_LENGTH).or_insert(length.into());
    if parts.status == http::StatusCode::NO_CONTENT {
        parts.headers.remove(http::header::CONTENT_LENGTH);
    }
    let body = match most.filter(|most| *most < length) {
        _ if is_head => whole(Bytes::new()),
        None => whole(body),
        Some(most) => broken(&body.slice(..most)),
    };
    HttpResponse::from_parts(parts, body)
}

fn whole(content: Bytes) -> Body {
    Full::new(content).map_err(|never| match never {}).boxed_unsync()
}

/// A body that breaks the connection after `kept`.
fn broken(kept: &Bytes) -> Body {
    // In pieces, so that most of a long one is sent while the next is made.
    let pieces: Vec<_> =
        (0..kept.len()).step_by(PIECE).map(|at| kept.slice(at..kept.len().min(at + PIECE))).collect();
    let first = stream::iter(pieces).then(async |piece| {
        tokio::task::yield_now().await;
        Ok(Frame::data(piece))
    });
    let end = stream::once(async {
        // What was said before is sent meanwhile.
        tokio::task::yield_now().await;
        Err("the connection is broken in the answer".into())
    });
    StreamBody::new(first.chain(end)).boxed_unsync()
}

impl super::state::State {
    /// Carries out a request, if it may be.
    fn carry_out(&mut self, request: &Request, side: Side) -> Response {
        if let Some(refusal) = self.too_soon() {
            return refusal;
        }
        if side == Side::Storage {
            return storage::answer(&self.store, request);
        }
        let Some(route) = Route::parse(&request.path) else { return not_served() };
        if route == Route::Token && self.logins.has_tokens {
            return self.logins.token(request);
        }
        if let Some(refusal) = self.logins.refusal(&route, request, &self.url) {
            return refusal;
        }
        if let (Some(url), Route::In(name, Resource::Blob(digest))) = (&self.storage_url, &route)
            && let Some(redirect) = storage::redirect(&self.store, url, name, digest, request)
        {
            return redirect;
        }
        answer::answer(&mut self.store, self.ways, &route, request)
    }

    /// Keeps what arrived of an upload, if the client may push there.
    fn keep_part(&mut self, request: &Request) {
        let Some(route) = Route::parse(&request.path) else { return };
        if self.logins.refusal(&route, request, &self.url).is_some() {
            return;
        }
        if let Route::In(name, Resource::Upload(id)) = route {
            upload::keep_part(&mut self.store, &name, &id, request);
        }
    }
}
