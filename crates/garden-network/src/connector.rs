//! Connections through proxies.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Ready, ready};
use futures::{FutureExt as _, TryFutureExt as _};
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection};
use rustls::ClientConfig;
use tower::Service;

use crate::{Proxies, Proxy, system_authorities, tls_client};

type BoxError = Box<dyn Error + Send + Sync>;

/// A connection that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No proxy is involved: the connector's own error.
    #[error(transparent)]
    Direct(BoxError),
    /// The proxy was not reached, or did not make the connection.
    #[error("{proxy} makes no connection to {target}")]
    Proxy {
        /// The proxy, without its password.
        proxy: Proxy,
        /// Host and port that were asked for.
        target: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

/// Opens connections by `C`, through the proxies that stand before URLs.
///
/// A proxy that speaks HTTP makes a tunnel by `CONNECT`, which can carry anything. Plain HTTP can be
/// [forwarded](Self::forwarding) instead.
#[derive(Clone)]
pub struct ProxyConnector<C> {
    inner: C,
    proxies: Proxies,
    except: Option<Except>,
    forwards: bool,
}

/// Returns whether a host is reached by another way than those that proxies stand in.
type Except = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl<C> fmt::Debug for ProxyConnector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyConnector").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

impl<C> ProxyConnector<C> {
    /// Tunnels through `proxies`, which it reaches by `inner`.
    pub fn new(inner: C, proxies: Proxies) -> Self {
        Self { inner, proxies, except: None, forwards: false }
    }

    /// Leaves the hosts to `inner` alone for which `except` says so.
    pub fn except(mut self, except: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.except = Some(Arc::new(except));
        self
    }

    /// Sends requests in plain HTTP to the proxy itself, as many proxies allow `CONNECT` to TLS' port only. Such a request needs the
    /// header that [`proxy_authorization`](Self::proxy_authorization) returns.
    pub fn forwarding(mut self) -> Self {
        self.forwards = true;
        self
    }

    /// The value of `Proxy-Authorization` for a request to `url`, if it is forwarded by a proxy that wants one.
    pub fn proxy_authorization(&self, url: &Uri) -> Option<HeaderValue> {
        let proxy = self.before(url).filter(|proxy| self.forwards(proxy, url))?;
        proxy.authorization().cloned()
    }

    fn before(&self, url: &Uri) -> Option<Proxy> {
        let is_excepted = |except: &Except| except(url.host().unwrap_or_default());
        self.proxies.before(url).filter(|_| !self.except.as_ref().is_some_and(is_excepted))
    }

    fn forwards(&self, proxy: &Proxy, url: &Uri) -> bool {
        self.forwards && proxy.speaks_http() && url.scheme_str() == Some("http")
    }
}

impl<C> Service<Uri> for ProxyConnector<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Error: Into<BoxError> + 'static,
    C::Future: Send + 'static,
{
    type Response = Proxied<C::Response>;
    type Error = ProxyError;
    type Future = BoxFuture<'static, Result<Self::Response, ProxyError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(context).map_err(|error| ProxyError::Direct(error.into()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        // The one that is ready.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let Some(proxy) = self.before(&url) else {
            let connecting = inner.call(url).map_ok(Proxied::direct);
            return connecting.map_err(|error| ProxyError::Direct(error.into())).boxed();
        };
        let forwards = self.forwards(&proxy, &url);
        async move {
            let target = with_port(&url);
            let connecting = async {
                let stream = reach(inner, &proxy).await?;
                if forwards { Ok(stream) } else { tunnel(stream, &proxy, target.clone()).await }
            };
            match connecting.await {
                Ok(stream) => Ok(Proxied { stream, forwarded: forwards }),
                Err(source) => {
                    let target = target.authority().map_or_else(String::new, ToString::to_string);
                    Err(ProxyError::Proxy { proxy, target, source })
                }
            }
        }
        .boxed()
    }
}

/// Connects to the proxy itself.
async fn reach<C>(mut inner: C, proxy: &Proxy) -> Result<MaybeHttpsStream<C::Response>, BoxError>
where
    C: Service<Uri> + Send + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    if proxy.scheme() == "https" {
        let mut encrypted = HttpsConnector::from((inner, Arc::clone(trust()?)));
        return encrypted.call(proxy.url().clone()).await;
    }
    let stream = inner.call(proxy.address()?).await.map_err(Into::into)?;
    Ok(MaybeHttpsStream::Http(stream))
}

/// Has the proxy connect to `target`, to whose other end `stream` leads afterwards.
async fn tunnel<S>(stream: S, proxy: &Proxy, target: Uri) -> Result<S, BoxError>
where
    S: Read + Write + Send + Unpin + 'static,
{
    let reached = Reached(Some(stream));
    if proxy.speaks_http() {
        let mut tunnel = Tunnel::new(proxy.url().clone(), reached);
        if let Some(authorization) = proxy.authorization() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        return Ok(tunnel.call(target).await?);
    }
    // The proxy looks up the target's name. curl does so for `socks5h` only, but a proxy is often there because the names
    // behind it are unknown here, and Go makes no difference either.
    let mut socks = SocksV5::new(proxy.url().clone(), reached);
    if let Some((user, password)) = proxy.user() {
        socks = socks.with_auth(user.to_owned(), password.to_owned());
    }
    Ok(socks.call(target).await?)
}

/// Puts the scheme's port into a URL: what makes tunnels would take the one of TLS.
fn with_port(url: &Uri) -> Uri {
    let (Some(host), None, Some("http")) = (url.host(), url.port(), url.scheme_str()) else {
        return url.clone();
    };
    let parts = Uri::builder().scheme("http").authority(format!("{host}:80")).path_and_query("/");
    parts.build().unwrap_or_else(|_| url.clone())
}

/// Whom connections to proxies trust.
fn trust() -> Result<&'static Arc<ClientConfig>, BoxError> {
    static TRUST: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let trust = TRUST.get_or_init(|| {
        let config = tls_client().map_err(|error| error.to_string())?;
        Ok(Arc::new(config.with_root_certificates(system_authorities().clone()).with_no_client_auth()))
    });
    trust.as_ref().map_err(|error| error.clone().into())
}

/// A connection that is there already, for what would open one.
struct Reached<S>(Option<S>);

impl<S> Service<Uri> for Reached<S> {
    type Response = S;
    type Error = io::Error;
    type Future = Ready<io::Result<S>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::Error::other("a proxy is reached once for each connection")))
    }
}

/// A connection, through a proxy or direct.
#[derive(Debug)]
pub struct Proxied<S> {
    stream: MaybeHttpsStream<S>,
    /// Whether the other end is the proxy, which wants whole URLs in requests.
    forwarded: bool,
}

impl<S> Proxied<S> {
    fn direct(stream: S) -> Self {
        Self { stream: MaybeHttpsStream::Http(stream), forwarded: false }
    }
}

impl<S: Connection + Read + Write + Unpin> Connection for Proxied<S> {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected();
        if self.forwarded { connected.proxy(true) } else { connected }
    }
}

impl<S: Read + Write + Unpin> Read for Proxied<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Read + Write + Unpin> Write for Proxied<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
