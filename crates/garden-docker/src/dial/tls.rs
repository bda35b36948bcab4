use std::io;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use garden_registry::{ClientCertificate, TlsProblem, TlsSide};
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::explained::{Explain, Explained};
use super::{Connection, Dial, TcpDialer};
use crate::endpoint::Tls;
use crate::{DockerError, ReachError};

/// Connects by TCP, with TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsDialer {
    pub(crate) tcp: TcpDialer,
    pub(crate) tls: Tls,
}

impl Dial for TlsDialer {
    fn address(&self) -> &str {
        self.tcp.address()
    }

    fn is_local(&self) -> bool {
        false
    }

    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, DockerError>> {
        async move {
            let encrypted = Encrypted {
                daemon: self.tcp.daemon.clone(),
                side: TlsSide {
                    host: self.tcp.host.clone(),
                    authorities: self.tls.authorities.clone(),
                    certificate: self
                        .tls
                        .certificate
                        .clone()
                        .map_or(ClientCertificate::Missing, ClientCertificate::File),
                },
            };
            let name = ServerName::try_from(self.tcp.host.clone());
            let name = name.map_err(|_| {
                let reason = format!("`{}` is not a name that a certificate can have", self.tcp.host);
                encrypted.because(TlsProblem::Handshake { reason })
            })?;
            let stream = self.tcp.connect("https").await?;
            let connector = TlsConnector::from(self.tls.config.clone());
            match timeout(self.tcp.patience, connector.connect(name, stream)).await {
                Ok(Ok(stream)) => Ok(Box::new(Explained::new(stream, encrypted)) as Box<dyn Connection>),
                Ok(Err(error)) => Err(encrypted.why(&error).into()),
                Err(_) => Err(self.tcp.too_late("an answer to the TLS handshake").into()),
            }
        }
        .boxed()
    }
}

/// Knows why an encrypted connection fails.
struct Encrypted {
    daemon: String,
    side: TlsSide,
}

impl Encrypted {
    fn because(&self, problem: TlsProblem) -> ReachError {
        ReachError::Tls { daemon: self.daemon.clone(), problem }
    }

    /// Explains a failure of the handshake.
    fn why(&self, error: &io::Error) -> ReachError {
        let problem = self.side.problem(error);
        self.because(problem.unwrap_or_else(|| TlsProblem::Handshake { reason: error.to_string() }))
    }
}

impl Explain for Encrypted {
    fn first_words(&self, _: &[u8]) -> Option<ReachError> {
        None
    }

    /// With TLS 1.3, the daemon looks at our certificate when the handshake is over for us: a refusal is the first that
    /// is read, or it is lost when the daemon closes the connection.
    fn failure(&self, error: &io::Error, heard: bool) -> Option<ReachError> {
        let hung_up = matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        );
        let problem = self.side.problem(error).or_else(|| (hung_up && !heard).then_some(TlsProblem::HungUp));
        problem.map(|problem| self.because(problem))
    }
}
