use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use garden_build_core::{Digest, ImageReference};
use http::{HeaderValue, Method, StatusCode};

use crate::authenticate::{Access, Authenticator};
use crate::connect::{Dial, TcpDialer};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::media_type;
use crate::server_message::ServerMessage;
use crate::transport::{Answer, Call, Operation, Transport};

/// Source: OCI distribution specification, section "Pulling manifests".
const CONTENT_DIGEST: &str = "docker-content-digest";

/// The largest manifest that is read, in bytes.
///
/// Source: OCI distribution specification, section "Pushing Manifests": registries should accept at
/// least 4 MiB, and hardly any takes more.
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// How long an operation may take in all, unless the builder is told otherwise.
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
}

/// Says how a registry is reached. Made by [`RegistryClient::builder`].
#[derive(Debug)]
#[must_use]
pub struct RegistryClientBuilder {
    registry: String,
    insecure: bool,
    ca_certificates: Vec<u8>,
    credentials: Credentials,
    dialer: Arc<dyn Dial>,
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

    /// Lets an operation take at most `timeout` in all, retries included; 30 seconds by default.
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
            transport: Transport::new(self.dialer, &self.ca_certificates, self.timeout)?,
            authenticator: Authenticator::new(self.credentials),
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
            timeout: TIMEOUT,
        }
    }

    /// Asks whether the image exists and which digest its tag stands for.
    ///
    /// A reference with both tag and digest is looked up by its digest.
    ///
    /// # Errors
    /// If the registry does not answer the question: see [`RegistryError`]. That the image does not
    /// exist is an answer.
    pub async fn resolve(&self, image: &ImageReference) -> Result<Resolution, RegistryError> {
        let Inner { endpoint, .. } = &*self.0;
        if !endpoint.is_called(image.registry()) {
            let (registry, reference) = (endpoint.name.clone(), image.to_string());
            return Err(RegistryError::WrongRegistry { registry, reference });
        }
        let repository = endpoint.repository(image.repository());
        let reference = image.digest().or(image.tag()).unwrap_or("latest");
        let access = Access { repository: &repository, actions: "pull" };
        let operation = self.0.transport.begin(endpoint);

        let (answer, presented) = self.ask(Method::HEAD, reference, &access, &operation).await?;
        match answer.status {
            StatusCode::OK => {
                if let Some(digest) = content_digest(&answer) {
                    return check(digest, image).map_err(|reason| RegistryError::Unexpected {
                        server: answer.server,
                        repository: repository.clone(),
                        status: answer.status,
                        reason,
                    });
                }
            }
            StatusCode::NOT_FOUND => return Ok(Resolution::Missing),
            StatusCode::UNAUTHORIZED => {
                return Err(self.0.authenticator.refused(endpoint, &access, presented.as_ref(), None));
            }
            _ => {}
        }
        // Either the digest is missing, or the reason, which the answer to a HEAD has no room for.
        self.resolve_by_content(reference, image, &access, &operation).await
    }

    async fn resolve_by_content(
        &self,
        reference: &str,
        image: &ImageReference,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<Resolution, RegistryError> {
        let Inner { endpoint, authenticator, .. } = &*self.0;
        let (answer, presented) = self.ask(Method::GET, reference, access, operation).await?;
        let (status, server) = (answer.status, answer.server.clone());
        let unexpected = |reason: String| RegistryError::Unexpected {
            server: server.clone(),
            repository: access.repository.to_owned(),
            status,
            reason,
        };
        let body: Bytes = answer.body(LARGEST_MANIFEST).await?;
        if status == StatusCode::OK {
            let digest = Digest::of(&body);
            return check(digest, image).map_err(unexpected);
        }
        let shown = presented.as_ref().and_then(|header| header.to_str().ok()?.split_once(' '));
        let shown = shown.map_or("", |(_, shown)| shown);
        let said = ServerMessage::read(&body, &[shown, authenticator.secret(endpoint, access)]);
        match status {
            StatusCode::NOT_FOUND => Ok(Resolution::Missing),
            _ if said.says_missing() => Ok(Resolution::Missing),
            StatusCode::UNAUTHORIZED => {
                Err(authenticator.refused(endpoint, access, presented.as_ref(), said.text()))
            }
            StatusCode::FORBIDDEN => Err(authenticator.forbidden(endpoint, access, said.text())),
            _ => Err(unexpected(said.text().unwrap_or_else(|| "it does not say why".to_owned()))),
        }
    }

    /// Asks for a manifest, authenticating if need be. Returns also what was presented.
    async fn ask(
        &self,
        method: Method,
        reference: &str,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<(Answer, Option<HeaderValue>), RegistryError> {
        let Inner { endpoint, authenticator, .. } = &*self.0;
        let mut call = Call {
            method,
            uri: endpoint.manifest(access.repository, reference)?,
            accept: media_type::MANIFESTS,
            authorization: authenticator.remembered(endpoint, access),
            form: None,
        };
        let answer = operation.send(call.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok((answer, call.authorization));
        }
        if answer.origin != endpoint.origin {
            let reason =
                "the server that it leads to wants credentials, and it is not the registry".to_owned();
            return Err(RegistryError::Redirect { server: answer.server, reason });
        }
        let header = authenticator.answer(&answer.headers, access, operation).await?;
        if call.authorization.as_ref() == Some(&header) {
            // It was just refused. Asking again only brings the user closer to being locked out.
            return Ok((answer, Some(header)));
        }
        call.authorization = Some(header);
        Ok((operation.send(call.clone()).await?, call.authorization))
    }
}

/// An image that is asked for by its digest can have no other.
fn check(digest: Digest, image: &ImageReference) -> Result<Resolution, String> {
    match image.digest().and_then(|asked| asked.parse::<Digest>().ok()) {
        Some(asked) if asked != digest => Err(format!("asked for {asked}, it has {digest}")),
        _ => Ok(Resolution::Exists(digest)),
    }
}

fn content_digest(answer: &Answer) -> Option<Digest> {
    answer.headers.get(CONTENT_DIGEST)?.to_str().ok()?.trim().parse().ok()
}
