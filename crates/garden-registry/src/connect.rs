//! How connections to registries and token servers are opened.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::place::Place;

/// How long [`TcpDialer`] waits for a host to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A two-way byte stream, such as a TCP connection or a forwarded port.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Opens connections for a [`RegistryClient`](crate::RegistryClient).
///
/// The client asks for every host that it has to speak to: the registry, the token server that the
/// registry names, and hosts that it redirects to. A dialer that knows a way to one of them only
/// hands the rest to [`TcpDialer`]. TLS is spoken by the client over what the dialer returns, and a
/// connection is used for several requests.
pub trait Dial: Debug + Send + Sync {
    /// Opens a connection to `port` of `host`, a DNS name or an IP address (IPv6 without brackets).
    fn dial(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Transport>>>;

    /// Whether connections to `host` leave by this machine's network, so that they go through the proxies that stand there. The
    /// dialer is then asked for a connection to the proxy. By default they do not.
    fn leaves_by_network(&self, host: &str) -> bool {
        let _ = host;
        false
    }

    /// Where `host` is. The registry may lead to hosts on the network and to those at its own place, and not to any others. By default,
    /// what the name tells; a dialer that knows ways of its own tells where these lead.
    fn place(&self, host: &str) -> Place {
        Place::of(host)
    }
}

/// Connects by TCP from this machine, and gives up after 10 seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDialer;

impl Dial for TcpDialer {
    fn dial(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Transport>>> {
        let host = host.to_owned();
        async move {
            let connecting = TcpStream::connect((host.as_str(), port));
            let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| {
                let message = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
                io::Error::new(io::ErrorKind::TimedOut, message)
            })??;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        }
        .boxed()
    }

    fn leaves_by_network(&self, _: &str) -> bool {
        true
    }
}

/// Lets hyper connect through a [`Dial`].
#[derive(Clone, Debug)]
pub(crate) struct Connector(pub(crate) Arc<dyn Dial>);

impl tower::Service<Uri> for Connector {
    type Response = Dialed;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Dialed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        self.0.dial(host, port).map(|stream| stream.map(|stream| Dialed(TokioIo::new(stream)))).boxed()
    }
}

/// What a [`Dial`] returned, as hyper wants it.
pub(crate) struct Dialed(TokioIo<Box<dyn Transport>>);

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }
}
