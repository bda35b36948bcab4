//! Connections in memory.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Client;
use tokio::io::DuplexStream;

use super::cluster::FakeCluster;
use super::server;

/// What is on its way in each direction at most, as in a socket's buffers.
const BUFFER: usize = 256 << 10;

/// Makes a client with hyper's pool of connections, as kube's own.
pub(crate) fn client(cluster: &FakeCluster) -> Client {
    let connector = Connector(cluster.clone());
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    Client::new(AddHost(http), "default")
}

/// Makes whole addresses of paths, which is all that `kube` makes.
#[derive(Clone)]
struct AddHost<S>(S);

impl<S, B> tower::Service<http::Request<B>> for AddHost<S>
where
    S: tower::Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> S::Future {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(http::uri::Authority::from_static("fake.cluster"));
        // A path with a scheme and an authority is always whole.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        self.0.call(request)
    }
}

#[derive(Clone)]
struct Connector(FakeCluster);

impl tower::Service<Uri> for Connector {
    type Response = InMemory;
    type Error = Infallible;
    type Future = Ready<Result<InMemory, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        tokio::spawn(server::serve(self.0.clone(), ours));
        ready(Ok(InMemory(TokioIo::new(theirs))))
    }
}

/// A connection, as hyper uses it.
struct InMemory(TokioIo<DuplexStream>);

impl Connection for InMemory {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for InMemory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for InMemory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
