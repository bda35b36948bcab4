//! The client of one registry.
//!
//! Why: docs/decisions/66-the-registry-client-is-ours.md

use std::sync::Arc;
use std::time::Duration;

use garden_build_core::Digest;
use garden_network::Proxies;

use crate::authenticate::Authenticator;
use crate::connect::{Dial, TcpDialer};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::server::Server;
use crate::transport::Transport;

mod access_token;
mod ask;
mod blobs;
mod extent;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod listing;
mod manifests;
mod part;
mod referrers;
mod upload;
mod upload_session;

pub use access_token::{AccessToken, repository_of};
pub use blobs::{BlobSource, BlobStream, RemoteBlob};
pub use part::Sent;
pub use upload::Uploaded;

/// How long an operation may take in all, unless the builder sets another time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether an image exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Resolution {
    /// It does; this is the digest of its manifest or index.
    Exists(Digest),
    /// The registry has no such image, or no such repository.
    Missing,
}

impl Resolution {
    /// Returns the digest, if the image exists.
    pub fn digest(self) -> Option<Digest> {
        match self {
            Self::Exists(digest) => Some(digest),
            Self::Missing => None,
        }
    }
}

/// A client of one registry. Cheap to clone; clones share connections and tokens.
///
/// ```no_run
/// use garden_registry::{RegistryClient, Resolution};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = RegistryClient::builder("registry.example:5000").build()?;
/// match registry.resolve(&"registry.example:5000/team/api:v1".parse()?).await? {
///     Resolution::Exists(digest) => println!("{digest}"),
///     Resolution::Missing => println!("not built yet"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RegistryClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    transport: Transport,
    authenticator: Authenticator,
    timeout: Duration,
}

/// Describes how a registry is reached. Made by [`RegistryClient::builder`].
#[derive(Debug)]
#[must_use]
pub struct RegistryClientBuilder {
    registry: String,
    insecure: bool,
    ca_certificates: Vec<u8>,
    credentials: Credentials,
    dialer: Arc<dyn Dial>,
    proxies: Proxies,
    timeout: Duration,
}

impl RegistryClientBuilder {
    /// Speaks plain HTTP with the registry if `insecure`; TLS otherwise, which is the default.
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Trusts the authorities in `pem` besides those of the system.
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificates = pem.into();
        self
    }

    /// Authenticates with `credentials` where the registry asks for it. They may be those of other
    /// registries as well, which are not used.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Opens connections through `dialer` instead of by [`TcpDialer`].
    pub fn dialer(mut self, dialer: Arc<dyn Dial>) -> Self {
        self.dialer = dialer;
        self
    }

    /// Goes through `proxies` instead of those that the environment names. They stand before what the dialer says
    /// [leaves by the network](Dial::leaves_by_network).
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Lets a question take at most `timeout` in all, retries included; 30 seconds by default.
    ///
    /// A transfer may last as long as it gets on: no answer, and no next piece of one, may take longer than `timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Creates the client. Nothing is sent yet.
    ///
    /// # Errors
    /// If the registry's name or the certificates are malformed.
    pub fn build(self) -> Result<RegistryClient, RegistryError> {
        Ok(RegistryClient(Arc::new(Inner {
            endpoint: Endpoint::new(&self.registry, self.insecure)?,
            transport: Transport::new(self.dialer, self.proxies, &self.ca_certificates)?,
            authenticator: Authenticator::new(self.credentials),
            timeout: self.timeout,
        })))
    }
}

impl RegistryClient {
    /// Starts to describe a client of `registry`: `host` or `host:port`, as in image references.
    pub fn builder(registry: impl Into<String>) -> RegistryClientBuilder {
        RegistryClientBuilder {
            registry: registry.into(),
            insecure: false,
            ca_certificates: Vec::new(),
            credentials: Credentials::new(),
            dialer: Arc::new(TcpDialer),
            proxies: Proxies::from_environment(),
            timeout: TIMEOUT,
        }
    }

    /// Returns the registry's name: `host` or `host:port`.
    pub fn registry(&self) -> &str {
        &self.0.endpoint.name
    }

    /// Returns who is asked, for messages.
    pub(crate) fn server(&self) -> Server {
        let Endpoint { name, origin, .. } = &self.0.endpoint;
        Server::registry(name, Some(origin.clone()))
    }

    /// Returns whether `other` asks the same registry, so that blobs need not travel between them.
    pub fn is_same_registry(&self, other: &Self) -> bool {
        self.0.endpoint.origin == other.0.endpoint.origin
    }
}
