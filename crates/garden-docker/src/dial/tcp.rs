// Why: docs/decisions/49-a-proxy-to-docker-is-a-tunnel.md

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use garden_build_core::with_causes;
use garden_network::{Proxies, ProxyConnector, ProxyError};
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service as _;

use super::explained::{Explain, Explained};
use super::{Connection, Dial};
use crate::endpoint::bracketed;
use crate::{DockerError, ReachError};

/// How long a host may take to answer, and then again to encrypt the connection.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Connects by TCP, without TLS, and through the proxy of this machine's network if one stands before the daemon.
///
/// The `docker` command chooses the proxy in the same way: as for an HTTP server at the daemon's address (docker/go-connections,
/// `sockets.ConfigureTransport`). But it has the proxy forward plain HTTP, and makes upgraded connections, such as those to `BuildKit`, without
/// the proxy (moby, `client/client.go`, `dialer`). Here every connection is a tunnel, which carries both.
#[derive(Clone, Debug)]
pub(crate) struct TcpDialer {
    pub(crate) daemon: String,
    pub(crate) shown: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) proxies: Proxies,
    pub(crate) patience: Duration,
}

impl Dial for TcpDialer {
    fn address(&self) -> &str {
        &self.shown
    }

    fn is_local(&self) -> bool {
        false
    }

    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, DockerError>> {
        async move {
            let stream = self.connect("http").await?;
            let plain = Plain { daemon: self.daemon.clone() };
            Ok(Box::new(Explained::new(stream, plain)) as Box<dyn Connection>)
        }
        .boxed()
    }
}

impl TcpDialer {
    /// Opens a connection. Which proxy stands before the daemon depends on `scheme`: `https` if the connection will be encrypted.
    pub(super) async fn connect(&self, scheme: &str) -> Result<Box<dyn Connection>, ReachError> {
        let proxied = self.url(scheme).filter(|url| self.proxies.stand_before(url));
        let connecting = async {
            match proxied {
                Some(url) => self.connect_through_proxy(url).await,
                None => Ok(Box::new(self.connect_directly().await?) as Box<dyn Connection>),
            }
        };
        match timeout(self.patience, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(self.too_late("a connection")),
        }
    }

    /// Returns the daemon's URL; nothing for a host that no URL can have, before which no proxy can stand.
    fn url(&self, scheme: &str) -> Option<Uri> {
        let authority = format!("{}:{}", bracketed(&self.host), self.port);
        Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()
    }

    async fn connect_through_proxy(&self, url: Uri) -> Result<Box<dyn Connection>, ReachError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connected = ProxyConnector::new(tcp, self.proxies.clone()).call(url).await;
        let stream = connected.map_err(|error| match error {
            ProxyError::Proxy { proxy, source, .. } => ReachError::Proxy {
                daemon: self.daemon.clone(),
                proxy: proxy.to_string(),
                reason: with_causes(&*source),
            },
            ProxyError::Direct(error) => {
                ReachError::Network { daemon: self.daemon.clone(), reason: with_causes(&*error) }
            }
        })?;
        Ok(Box::new(TokioIo::new(stream)))
    }

    async fn connect_directly(&self) -> Result<TcpStream, ReachError> {
        let unknown = |reason: String| ReachError::UnknownHost {
            daemon: self.daemon.clone(),
            host: self.host.clone(),
            reason,
        };
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<SocketAddr> = addresses.map_err(|error| unknown(error.to_string()))?.collect();
        if addresses.is_empty() {
            return Err(unknown("it has no address".to_owned()));
        }
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| self.why(&error))?;
        // A build's conversation is a chain of small messages, each of which would wait for the acknowledgement of the
        // one before.
        stream.set_nodelay(true).map_err(|error| self.why(&error))?;
        Ok(stream)
    }

    pub(super) fn too_late(&self, waited_for: &str) -> ReachError {
        ReachError::TimedOut {
            daemon: self.daemon.clone(),
            waited_for: waited_for.to_owned(),
            seconds: self.patience.as_secs(),
        }
    }

    fn why(&self, error: &io::Error) -> ReachError {
        let daemon = self.daemon.clone();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ReachError::Refused { daemon, others: Vec::new() },
            // The system's own limit, if it is the shorter one.
            io::ErrorKind::TimedOut => self.too_late("a connection"),
            _ => ReachError::Network { daemon, reason: error.to_string() },
        }
    }
}

/// Knows when the daemon's first words mean that it speaks TLS.
struct Plain {
    daemon: String,
}

impl Explain for Plain {
    fn first_words(&self, words: &[u8]) -> Option<ReachError> {
        are_about_tls(words).then(|| ReachError::SpeaksTls { daemon: self.daemon.clone() })
    }

    fn failure(&self, _: &io::Error, _: bool) -> Option<ReachError> {
        None
    }
}

/// Go's server says so in an answer of HTTP/1.0 (`net/http/server.go`), others with an alert (RFC 8446, section 5.1).
fn are_about_tls(words: &[u8]) -> bool {
    let go = b"Client sent an HTTP request to an HTTPS server";
    words.starts_with(&[21, 3]) || words.windows(go.len()).any(|part| part == go)
}
