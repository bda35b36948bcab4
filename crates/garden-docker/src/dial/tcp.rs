use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::explained::{Explain, Explained};
use super::{Connection, Dial};
use crate::{DockerError, ReachError};

/// How long a host may take to answer, and then again to encrypt the connection.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Connects by TCP, without TLS.
#[derive(Clone, Debug)]
pub(crate) struct TcpDialer {
    pub(crate) daemon: String,
    pub(crate) shown: String,
    pub(crate) host: String,
    pub(crate) port: u16,
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
            let stream = self.connect().await?;
            let plain = Plain { daemon: self.daemon.clone() };
            Ok(Box::new(Explained::new(stream, plain)) as Box<dyn Connection>)
        }
        .boxed()
    }
}

impl TcpDialer {
    pub(super) async fn connect(&self) -> Result<TcpStream, ReachError> {
        match timeout(self.patience, self.connect_patiently()).await {
            Ok(connected) => connected,
            Err(_) => Err(self.too_late("a connection")),
        }
    }

    async fn connect_patiently(&self) -> Result<TcpStream, ReachError> {
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

impl Explain<TcpStream> for Plain {
    fn poll_first_words(&self, stream: &TcpStream, cx: &mut Context<'_>) -> Poll<Option<ReachError>> {
        let mut words = [0; 128];
        let mut words = ReadBuf::new(&mut words);
        // What fails here fails again when it is read.
        let speaks_tls = ready!(stream.poll_peek(cx, &mut words)).is_ok() && are_about_tls(words.filled());
        Poll::Ready(speaks_tls.then(|| ReachError::SpeaksTls { daemon: self.daemon.clone() }))
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
