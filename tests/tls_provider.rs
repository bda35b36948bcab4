//! TLS leaves the process's default provider of cryptography to the program: none is installed, and the program's own is not used. This is a
//! program of its own, since a process has one default, once.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::io;
use std::path::Path;
use std::sync::Arc;

use garden_build::config::ProviderConfig;
use garden_build::registry::RegistryClient;
use garden_buildkit::client::TlsIdentity;
use garden_cluster::Cluster;
use k8s_openapi::api::core::v1::Pod;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The only name in the API server's certificate: it goes by that instead of its address.
const API_SERVER: &str = "api.example";

/// What servers say to whom they know, and to others.
const NOT_FOUND: &str =
    r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#;
const UNKNOWN: &str =
    r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}"#;

/// A certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Issued {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Issued {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// Starts a server whose certificate is for `name`, and returns its port. It knows who has a certificate of ours, and where
    /// nobody needs one.
    async fn serve(&self, name: &str) -> u16 {
        let server = self.issue(name, ExtendedKeyUsagePurpose::ServerAuth);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let cryptography = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&cryptography));
        let key = PrivatePkcs8KeyDer::from_pem_slice(server.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(cryptography)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(server.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::Pkcs8(key),
            );
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(acceptor.clone(), stream));
            }
        });
        port
    }
}

/// Answers one request.
async fn answer(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let is_known = stream.get_ref().1.peer_certificates().is_some();
    let is_for_all =
        String::from_utf8_lossy(&request).lines().next().is_some_and(|line| line.contains(" /v2/"));
    let (status, body) =
        if is_known || is_for_all { ("404 Not Found", NOT_FOUND) } else { ("401 Unauthorized", UNKNOWN) };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Asks an API server that a kubeconfig says `cluster` and `user` of.
async fn ask_cluster(directory: &Path, cluster: &Value, user: &Value) {
    let kubeconfig = directory.join("kubeconfig");
    let written = json!({
        "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "u", "user": user }],
    });
    std::fs::write(&kubeconfig, written.to_string()).unwrap();
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.kubeconfig = Some(kubeconfig);
    let found = Cluster::of(&provider).get::<Pod>("demo", "missing").await;
    assert_eq!(found.unwrap(), None, "{cluster} {user}");
}

/// Connects to everything that speaks TLS, with clients that are new.
async fn use_everything() {
    let authority = Authority::new();
    let Issued { certificate, key } = authority.issue("dev", ExtendedKeyUsagePurpose::ClientAuth);
    let directory = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };

    let port = authority.serve(API_SERVER).await;
    let server = format!("https://127.0.0.1:{port}");
    let authorities = file("ca", &authority.pem);
    let trusted =
        json!({ "server": server, "certificate-authority": authorities, "tls-server-name": API_SERVER });
    let anybody = json!({ "server": server, "insecure-skip-tls-verify": true });
    let by_file =
        json!({ "client-certificate": file("cert", &certificate), "client-key": file("key", &key) });
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": { "clientCertificateData": certificate, "clientKeyData": key },
    });
    let by_plugin = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "cat",
        "args": [file("credential", &credential.to_string())],
        "interactiveMode": "Never",
    } });
    for (cluster, user) in [(&trusted, &by_file), (&trusted, &by_plugin), (&anybody, &by_file)] {
        ask_cluster(directory.path(), cluster, user).await;
    }

    let port = authority.serve("127.0.0.1").await;
    let registry =
        RegistryClient::builder(format!("127.0.0.1:{port}")).ca_certificates(authority.pem.clone());
    let image = format!("127.0.0.1:{port}/team/api:v1").parse().unwrap();
    assert!(registry.build().unwrap().manifest(&image).await.unwrap().is_none());

    let daemon = TlsIdentity {
        server_name: "127.0.0.1".to_owned(),
        certificate_authority: authority.pem.clone(),
        certificate,
        key: key.into(),
    };
    let mut stream = daemon.encrypt(TcpStream::connect(("127.0.0.1", port)).await.unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn tls_neither_installs_nor_uses_the_process_s_default_provider() {
    use_everything().await;
    assert!(CryptoProvider::get_default().is_none());

    // One that can do nothing at all: whoever used it would fail.
    let useless =
        CryptoProvider { cipher_suites: Vec::new(), kx_groups: Vec::new(), ..aws_lc_rs::default_provider() };
    useless.install_default().unwrap();
    use_everything().await;
    assert!(CryptoProvider::get_default().unwrap().cipher_suites.is_empty());
}
