//! With authorities, certificates and a server of ours.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind};
use garden_registry::TlsProblem;
use garden_test_programs::NetworkProxy;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::tests::{ANSWER, REQUEST, ask, reach, tcp, through};
use super::{Dial as _, TlsDialer};
use crate::endpoint::{Tls, Verify};
use crate::{AsksForTls, ReachError};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

struct Authority {
    pem: String,
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self { pem: certificate.pem(), certificate, issuer: Issuer::new(parameters, key) }
    }

    fn sign(&self, mut parameters: CertificateParams, purpose: ExtendedKeyUsagePurpose) -> Signed {
        parameters.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("signed");
        Signed { certificate, key }
    }

    fn server(&self, name: &str) -> Signed {
        self.sign(named(name), ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn client(&self) -> Signed {
        self.sign(named("client"), ExtendedKeyUsagePurpose::ClientAuth)
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).expect("a name")
}

fn config(
    server: &Signed,
    clients: Option<&Authority>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .expect("a version");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.der().clone()).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server.key.serialize_der()));
    Arc::new(builder.with_single_cert(vec![server.certificate.der().clone()], key).expect("a key that fits"))
}

/// Serves one client that is signed by `clients`, if there is that, and returns the port.
async fn serve(
    server: &Signed,
    clients: Option<&Authority>,
    version: &'static SupportedProtocolVersion,
) -> u16 {
    let config = config(server, clients, version);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
        // Who does not trust us says nothing more.
        if stream.read_exact(&mut vec![0; REQUEST.len()]).await.is_ok() {
            stream.write_all(ANSWER).await.expect("answered");
            stream.shutdown().await.expect("ended");
        }
    });
    port
}

/// A directory with certificates, as Docker wants them.
fn files(authority: &Authority, client: Option<&Signed>) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
    write("ca.pem", &authority.pem);
    if let Some(client) = client {
        write("cert.pem", &client.certificate.pem());
        write("key.pem", &client.key.serialize_pem());
    }
    directory
}

fn dialer(port: u16, files: &TempDir, verify: Verify) -> TlsDialer {
    let tls = Tls::read(Some(files.path()), verify, AsksForTls::Variable("DOCKER_TLS_VERIFY"))
        .expect("certificates");
    TlsDialer { tcp: tcp("localhost", port), tls }
}

/// Asks a server with `certificate` whether it is trusted by who trusts `authority`.
async fn problem(certificate: &Signed, authority: &Authority) -> TlsProblem {
    let port = serve(certificate, None, &rustls::version::TLS13).await;
    let error =
        ask(&dialer(port, &files(authority, None), Verify::Authority)).await.expect_err("not trusted");
    let start = format!("no TLS connection to the Docker daemon at tcp://localhost:{port} (a test): ");
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(Error::from(error.clone()).hint().is_some());
    match error {
        ReachError::Tls { problem, .. } => problem,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_daemon_that_is_trusted_and_trusts_us_is_reached() {
    let authority = Authority::new("ours");
    for version in VERSIONS {
        let port = serve(&authority.server("localhost"), Some(&authority), version).await;
        let files = files(&authority, Some(&authority.client()));
        assert_eq!(ask(&dialer(port, &files, Verify::Authority)).await.expect("reached"), ANSWER);
    }
}

#[tokio::test]
async fn a_daemon_behind_a_proxy_is_spoken_to_with_tls_through_the_tunnel() {
    garden_test_programs::needs!(Tinyproxy);
    let authority = Authority::new("ours");
    for version in VERSIONS {
        let port = serve(&authority.server("localhost"), Some(&authority), version).await;
        let proxy = NetworkProxy::tinyproxy(None, port);
        let files = files(&authority, Some(&authority.client()));
        let mut dialer = dialer(port, &files, Verify::Authority);
        dialer.tcp.proxies = through(&proxy.url("http", ""));
        assert_eq!(ask(&dialer).await.expect("reached"), ANSWER);
        assert!(proxy.log().contains(&format!("CONNECT localhost:{port} ")), "{}", proxy.log());
    }
}

#[tokio::test]
async fn whom_the_authority_has_not_signed_is_not_trusted_unless_anybody_is() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = other.server("localhost");
    let problem = problem(&server, &ours).await;
    assert!(
        matches!(&problem, TlsProblem::UnknownAuthority { authorities } if authorities.ends_with("/ca.pem"))
    );
    for version in VERSIONS {
        let port = serve(&server, None, version).await;
        let files = files(&ours, None);
        assert_eq!(ask(&dialer(port, &files, Verify::Nothing)).await.expect("anybody"), ANSWER);
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_told_with_the_direction() {
    let authority = Authority::new("ours");
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    let mut past = named("localhost");
    past.not_after = date_time_ymd(2020, 1, 1);
    assert_eq!(problem(&authority.sign(past, purpose.clone()), &authority).await, TlsProblem::Expired);
    let mut future = named("localhost");
    future.not_before = date_time_ymd(2900, 1, 1);
    assert_eq!(problem(&authority.sign(future, purpose), &authority).await, TlsProblem::NotYetValid);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_told_with_both() {
    let authority = Authority::new("ours");
    let problem = problem(&authority.server("builder.example"), &authority).await;
    assert_eq!(problem.to_string(), "its certificate is not for localhost, but for builder.example");
}

#[tokio::test]
async fn an_authority_does_not_stand_for_a_server() {
    let mut parameters = named("localhost");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let pem = certificate.pem();
    let itself = Signed { certificate: certificate.clone(), key };
    let issuer = Issuer::new(parameters, KeyPair::generate().expect("a key"));
    let trusted = Authority { pem, certificate, issuer };
    assert_eq!(problem(&itself, &trusted).await, TlsProblem::AuthorityAsServer);
}

#[tokio::test]
async fn a_daemon_that_wants_to_know_who_we_are_says_so() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = ours.server("localhost");
    for version in VERSIONS {
        let port = serve(&server, Some(&ours), version).await;
        let error = ask(&dialer(port, &files(&ours, None), Verify::Authority)).await.expect_err("nobody");
        let expected = "it asks for a client certificate, and there is none";
        assert!(error.to_string().ends_with(expected), "{error}");

        let port = serve(&server, Some(&ours), version).await;
        let stranger = files(&ours, Some(&other.client()));
        let error = ask(&dialer(port, &stranger, Verify::Authority)).await.expect_err("a stranger");
        let file = stranger.path().join("cert.pem");
        let expected = format!("it does not accept our certificate {} (UnknownCA)", file.display());
        assert!(error.to_string().ends_with(&expected), "{error}");
        assert_eq!(Error::from(error).kind(), ErrorKind::Unauthorized);
    }
}

/// A refusal that comes while we are still writing would be lost, if only the end of the connection were reported.
#[tokio::test]
async fn a_refusal_is_told_as_well_if_writing_fails_first() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let port = serve(&ours.server("localhost"), Some(&ours), &rustls::version::TLS13).await;
    let stranger = files(&ours, Some(&other.client()));
    let dialer = dialer(port, &stranger, Verify::Authority);
    let mut connection = dialer.dial().await.map_err(reach).expect("the handshake is over for us");
    let error = loop {
        if let Err(error) = connection.write_all(REQUEST).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    let reason = ReachError::behind(&error).expect("a reason");
    assert!(
        matches!(reason, ReachError::Tls { problem: TlsProblem::CertificateRefused { .. }, .. }),
        "{reason}"
    );
}

#[tokio::test]
async fn a_daemon_that_hangs_up_after_the_handshake_is_taken_to_refuse_us() {
    let authority = Authority::new("ours");
    let server = authority.server("localhost");
    let config = config(&server, None, &rustls::version::TLS13);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = TlsAcceptor::from(config).accept(stream).await.expect("a handshake");
        stream.read_exact(&mut vec![0; REQUEST.len()]).await.expect("a request");
    });
    let error = ask(&dialer(port, &files(&authority, None), Verify::Authority)).await.expect_err("hung up");
    assert!(matches!(&error, ReachError::Tls { problem: TlsProblem::HungUp, .. }), "{error}");
    assert_eq!(Error::from(error).kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_daemon_without_tls_is_told_apart_from_one_that_hangs_up() {
    let authority = Authority::new("ours");
    for (answer, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], TlsProblem::NotTls),
        (b"", TlsProblem::Handshake { reason: "tls handshake eof".to_owned() }),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer).await;
        });
        let error =
            ask(&dialer(port, &files(&authority, None), Verify::Authority)).await.expect_err("no TLS");
        let daemon = format!("tcp://localhost:{port} (a test)");
        assert_eq!(error, ReachError::Tls { daemon, problem: expected });
    }
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_the_handshake_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut dialer = dialer(port, &files(&Authority::new("ours"), None), Verify::Authority);
    dialer.tcp.patience = Duration::from_secs(1);
    let error = ask(&dialer).await.expect_err("no answer").to_string();
    assert!(error.ends_with("an answer to the TLS handshake did not come within 1 s"), "{error}");
}
