//! A server that answers as a test says, whatever it is asked: the test kit's registry with a fault that never ends.

use std::time::Duration;

use bytes::Bytes;
use garden_build_core::{Digest, ImageReference};
use garden_build_testing::Authority;
use garden_build_testing::registry::{Fault, Registry, RegistryBuilder};
use garden_registry::{Credentials, RegistryClient, RegistryClientBuilder};
use http::StatusCode;
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use garden_build_testing::registry::{Request as Seen, Response as Answer};

pub(crate) const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;
pub(crate) const ORIGIN: &str = "secret default/regcred";
pub(crate) const PASSWORD: &str = "s3cret-password";

pub(crate) struct FakeServer(Registry);

impl FakeServer {
    /// Starts a server without TLS.
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(Registry::builder(), handler).await
    }

    /// Starts a server with TLS.
    pub(crate) async fn start_tls(
        authority: &Authority,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Registry::builder().tls_of(authority), handler).await
    }

    pub(crate) async fn start_with(
        builder: RegistryBuilder,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let registry = builder.start().await;
        registry.fault(Fault::answer("*", "*", handler).always());
        Self(registry)
    }

    /// Serves one connection that does not come from the network.
    pub(crate) fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.0.serve(stream);
    }

    /// The registry's name.
    pub(crate) fn name(&self) -> String {
        self.0.host()
    }

    pub(crate) fn image(&self) -> ImageReference {
        image(&self.name())
    }

    /// A client that speaks plain HTTP with this server.
    pub(crate) fn plain(&self) -> RegistryClientBuilder {
        self.client().insecure(true)
    }

    /// A client that speaks TLS with this server.
    pub(crate) fn client(&self) -> RegistryClientBuilder {
        RegistryClient::builder(self.name()).timeout(Duration::from_secs(10))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.requests()
    }
}

pub(crate) fn image(registry: &str) -> ImageReference {
    ImageReference::tagged(registry, "team/api", "v1").expect("valid")
}

pub(crate) fn credentials(registry: &str) -> Credentials {
    Credentials::with_password(registry, "user", SecretString::from(PASSWORD), ORIGIN).expect("a key")
}

pub(crate) fn digest() -> Digest {
    Digest::of(MANIFEST)
}

pub(crate) fn status(code: u16) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::from_u16(code).expect("a status");
    answer
}

pub(crate) fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().append(name, value.parse().expect("a header"));
    answer
}

pub(crate) fn body(code: u16, text: impl Into<Bytes>) -> Answer {
    let mut answer = status(code);
    *answer.body_mut() = text.into();
    answer
}

/// The answer to a HEAD for an image that exists.
pub(crate) fn found() -> Answer {
    with(status(200), "docker-content-digest", &digest().to_string())
}

pub(crate) fn challenge(text: &str) -> Answer {
    with(status(401), "www-authenticate", text)
}
