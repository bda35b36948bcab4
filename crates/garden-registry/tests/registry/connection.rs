//! How a registry is reached, and what is said if it is not.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use garden_build_core::ErrorKind;
use garden_build_testing::registry::Registry;
use garden_build_testing::{Authority, IssuedCertificate};
use garden_registry::{Dial, RegistryClient, RegistryError, Remedies, Resolution, TlsProblem, Transport};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, NamedGroup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::support::{FakeServer, digest, found, image};

fn tls_problem(error: &RegistryError) -> Option<TlsProblem> {
    match error {
        RegistryError::Tls { problem, .. } => Some(problem.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_if_it_was_named() {
    let authority = Authority::new();
    let server = FakeServer::start_tls(&authority, |_| found()).await;
    let client = server.client().ca_certificates(authority.pem()).build().expect("valid");
    assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
}

#[tokio::test]
async fn an_unknown_authority_is_refused_with_the_remedy() {
    let server = FakeServer::start_tls(&Authority::new(), |_| found()).await;
    let stranger = Authority::new();
    for pem in ["", stranger.pem()] {
        let client = server.client().ca_certificates(pem).build().expect("valid");
        let error = client.resolve(&server.image()).await.expect_err("not trusted");
        assert!(matches!(tls_problem(&error), Some(TlsProblem::UnknownAuthority { .. })), "{error}");
        let error = error.explain(&Remedies::OF_PROGRAM);
        assert!(!error.is_retryable());
        assert!(
            error.hint().is_some_and(|hint| hint.contains("RegistryClientBuilder::ca_certificates")),
            "{error}"
        );
    }
    assert!(server.seen().is_empty());
}

/// A server as those written in Go, which insist on the post-quantum key exchange if the client knows it.
/// Source: `crypto/tls/handshake_server_tls13.go` of Go 1.24.
fn as_go_does(authority: &Authority) -> TlsAcceptor {
    let issued = authority.issue(["127.0.0.1"]);
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("PEM");
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519MLKEM768);
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a key that fits");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_server_that_insists_on_a_post_quantum_key_exchange_costs_no_round_trip_more() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let name = listener.local_addr().expect("bound").to_string();
    let client = RegistryClient::builder(&name).ca_certificates(authority.pem()).build().expect("valid");
    let image = image(&name);
    let handshake = async {
        let (stream, _) = listener.accept().await.expect("a client");
        let stream = as_go_does(&authority).accept(stream).await.expect("a handshake");
        stream.get_ref().1.handshake_kind()
    };
    let kind = tokio::select! {
        kind = handshake => kind,
        answer = client.resolve(&image) => panic!("nobody has answered, but: {answer:?}"),
    };
    assert_eq!(kind, Some(HandshakeKind::Full));
}

#[tokio::test]
async fn a_certificate_for_another_name_and_an_authority_as_server_are_told_apart() {
    let elsewhere = Authority::new();
    let with_tls = Registry::builder().tls_with(elsewhere.pem(), elsewhere.issue(["other.example"]));
    let server = FakeServer::start_with(with_tls, |_| found()).await;
    let client = server.client().ca_certificates(elsewhere.pem()).build().expect("valid");
    let error = client.resolve(&server.image()).await.expect_err("another name");
    let names = Some(vec!["other.example".to_owned()]);
    let problem_names = tls_problem(&error).and_then(|problem| match problem {
        TlsProblem::WrongName { names, .. } => Some(names),
        _ => None,
    });
    assert_eq!(problem_names, names, "{error}");

    let authority = IssuedCertificate::of_an_authority(["127.0.0.1"]);
    let with_tls = Registry::builder().tls_with(&authority.certificate, authority.clone());
    let server = FakeServer::start_with(with_tls, |_| found()).await;
    let client = server.client().ca_certificates(authority.certificate).build().expect("valid");
    let error = client.resolve(&server.image()).await.expect_err("an authority");
    assert_eq!(tls_problem(&error), Some(TlsProblem::AuthorityAsServer), "{error}");
}

#[tokio::test]
async fn plain_http_in_answer_to_tls_is_recognised() {
    let server = FakeServer::start(|_| found()).await;
    let error = server.client().build().expect("valid").resolve(&server.image()).await.expect_err("no TLS");
    assert_eq!(tls_problem(&error), Some(TlsProblem::NotTls), "{error}");
    let error = error.explain(&Remedies::OF_PROGRAM);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("RegistryClientBuilder::insecure(true)")),
        "{error}"
    );
}

#[tokio::test]
async fn tls_in_answer_to_plain_http_has_a_remedy_too() {
    let server = FakeServer::start_tls(&Authority::new(), |_| found()).await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("TLS");
    let error = error.explain(&Remedies::OF_PROGRAM);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("do without `RegistryClientBuilder::insecure`")),
        "{error}"
    );
}

#[tokio::test]
async fn a_handshake_that_fails_is_not_said_to_lack_a_client_certificate() {
    /// A fatal alert, `handshake_failure`. Source: RFC 8446, sections 5.1 and 6.
    const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let name = listener.local_addr().expect("bound").to_string();
    let client = RegistryClient::builder(&name).build().expect("valid");
    let image = image(&name);
    let refuse = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let _hello = stream.read(&mut [0; 4096]).await.expect("a client's hello");
        stream.write_all(&ALERT).await.expect("a client that listens");
        stream
    };
    let (_stream, answer) = tokio::join!(refuse, client.resolve(&image));
    let error = answer.expect_err("no TLS");
    let problem = tls_problem(&error);
    assert!(
        matches!(&problem, Some(TlsProblem::Handshake { reason }) if reason.contains("HandshakeFailure")),
        "{error}"
    );
}

#[tokio::test]
async fn damaged_certificates_are_refused_before_anything_is_sent() {
    for pem in ["nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = RegistryClient::builder("registry.example").ca_certificates(pem).build().expect_err(pem);
        assert!(matches!(error, RegistryError::InvalidCaCertificates { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_retryable_and_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let name = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let client = RegistryClient::builder(&name).build().expect("valid");
    let error = client.resolve(&image(&name)).await.expect_err("refused").explain(&Remedies::OF_PROGRAM);
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true));
    assert!(error.message().contains(&name) && error.message().contains("refused"), "{error}");
}

// The clock is tokio's, which moves on when everybody waits: no machine is too slow for it.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let name = listener.local_addr().expect("bound").to_string();
    for insecure in [true, false] {
        let builder = RegistryClient::builder(&name).insecure(insecure).timeout(Duration::from_millis(200));
        let began = tokio::time::Instant::now();
        let error = builder.build().expect("valid").resolve(&image(&name)).await.expect_err("no answer");
        assert!(matches!(error, RegistryError::Timeout { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(error.explain(&Remedies::OF_PROGRAM).is_retryable());
    }
}

/// Reaches a server without any network.
#[derive(Debug)]
struct Pipe {
    dialled: Mutex<Vec<(String, u16)>>,
    far_ends: mpsc::UnboundedSender<DuplexStream>,
}

impl Dial for Pipe {
    fn dial(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Transport>>> {
        self.dialled.lock().expect("no panic").push((host.to_owned(), port));
        let (near, far) = tokio::io::duplex(1024);
        let sent = self.far_ends.send(far).map_err(io::Error::other);
        async move { sent.map(|()| Box::new(near) as Box<dyn Transport>) }.boxed()
    }
}

#[tokio::test]
async fn a_dialer_reaches_what_the_network_does_not() {
    let server = FakeServer::start(|_| found()).await;
    let (far_ends, mut connections) = mpsc::unbounded_channel();
    let pipe = Arc::new(Pipe { dialled: Mutex::default(), far_ends });
    let name = "garden-docker-registry.garden-system.svc:5000";
    let client = RegistryClient::builder(name).insecure(true).dialer(pipe.clone()).build().expect("valid");
    let serving = async {
        while let Some(connection) = connections.recv().await {
            server.serve(connection);
        }
    };
    let asking = async {
        for _ in 0..2 {
            let resolution = client.resolve(&image(name)).await.expect("an answer");
            assert_eq!(resolution, Resolution::Exists(digest()));
        }
    };
    tokio::select! { () = serving => {}, () = asking => {} }
    let (host, port) = name.split_once(':').expect("a port");
    let expected = (host.to_owned(), port.parse().expect("a number"));
    assert_eq!(*pipe.dialled.lock().expect("no panic"), [expected], "a connection is used again");
    assert_eq!(server.seen().len(), 2);
    assert_eq!(server.seen()[0].header("host"), Some(name));
}

/// A dialer that has nothing to offer.
#[derive(Debug)]
struct Broken;

impl Dial for Broken {
    fn dial(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Transport>>> {
        async { Err(io::Error::other("the pod garden-system/registry is gone")) }.boxed()
    }
}

#[tokio::test]
async fn what_a_dialer_says_reaches_the_user() {
    let client = RegistryClient::builder("registry.example").dialer(Arc::new(Broken)).build().expect("valid");
    let error = client.resolve(&image("registry.example")).await.expect_err("unreachable");
    assert!(error.to_string().ends_with("the pod garden-system/registry is gone"), "{error}");
}
