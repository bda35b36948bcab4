//! A server that answers as a test says, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use garden_build_core::{Digest, ImageReference};
use garden_registry::{Credentials, RegistryClient, RegistryClientBuilder};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::NamedGroup;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;
pub(crate) const ORIGIN: &str = "secret default/regcred";
pub(crate) const PASSWORD: &str = "s3cret-password";

pub(crate) type Answer = Response<Full<Bytes>>;

/// A request as the server received it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }
}

type Handler = dyn Fn(&Seen) -> Answer + Send + Sync;

#[derive(Clone)]
struct Service {
    seen: Arc<Mutex<Vec<Seen>>>,
    handler: Arc<Handler>,
}

impl Service {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let answer = |request: Request<Incoming>| {
            let service = self.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let seen = Seen {
                    method: parts.method,
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    headers: parts.headers,
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                let answer = (service.handler)(&seen);
                service.seen.lock().expect("no panic").push(seen);
                Ok::<_, hyper::Error>(answer)
            }
        };
        let connection = hyper::server::conn::http1::Builder::new();
        // A client that goes away is part of some tests.
        let _ = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
    }
}

pub(crate) struct FakeServer {
    address: SocketAddr,
    service: Service,
}

impl FakeServer {
    /// Starts a server without TLS.
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(None, handler).await
    }

    /// Starts a server with TLS.
    pub(crate) async fn start_tls(
        authority: &Authority,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(authority.acceptor.clone()), handler).await
    }

    async fn listen(
        tls: Option<TlsAcceptor>,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let service = Service { seen: Arc::default(), handler: Arc::new(handler) };
        let serving = service.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(one(stream, tls.clone(), serving.clone()));
            }
        });
        Self { address, service }
    }

    /// Serves one connection that does not come from the network.
    pub(crate) fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        tokio::spawn(self.service.clone().serve(stream));
    }

    /// The registry's name.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
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
        self.service.seen.lock().expect("no panic").clone()
    }
}

async fn one(stream: TcpStream, tls: Option<TlsAcceptor>, service: Service) {
    match tls {
        None => service.serve(stream).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                service.serve(stream).await;
            }
        }
    }
}

/// A private certificate authority, and a server certificate for this machine that it signed.
pub(crate) struct Authority {
    pub(crate) pem: String,
    pub(crate) acceptor: TlsAcceptor,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::for_names(&["127.0.0.1", "localhost"])
    }

    pub(crate) fn for_names(names: &[&str]) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(parameters, key);
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let server_key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(names).expect("names").signed_by(&server_key, &issuer);
        Self { pem, acceptor: acceptor(&server.expect("a certificate"), &server_key) }
    }

    /// An authority whose own certificate stands for the server.
    pub(crate) fn as_server() -> Self {
        let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self { pem: certificate.pem(), acceptor: acceptor(&certificate, &key) }
    }
}

fn acceptor(certificate: &rcgen::Certificate, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // As servers insist that are written in Go, if the client knows it. Source: `crypto/tls/handshake_server_tls13.go` of Go 1.24.
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519MLKEM768);
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a key that fits");
    TlsAcceptor::from(Arc::new(config))
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
    *answer.body_mut() = Full::new(text.into());
    answer
}

/// The answer to a HEAD for an image that exists.
pub(crate) fn found() -> Answer {
    with(status(200), "docker-content-digest", &digest().to_string())
}

pub(crate) fn challenge(text: &str) -> Answer {
    with(status(401), "www-authenticate", text)
}
