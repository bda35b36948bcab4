//! What is said when an image cannot be published: each side of a copy has options of its own.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::kube::Client;
use garden_build::kube::client::Body;
use garden_build::registry::Credentials;
use garden_build::{Builder, Error, ErrorKind, HintCode, PublishRequest};
use http::{Request, Response};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const MANIFEST: &str = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;

/// Starts a registry that gives everybody `status`, and a manifest. Returns its `host:port`.
fn registry(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Whoever speaks TLS may hang up before there is an answer.
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(answer(status).as_bytes()));
        }
    });
    address
}

/// Starts a registry with TLS, whose certificate nobody trusts. Returns its `host:port`.
async fn registry_with_tls() -> String {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    address
}

fn answer(status: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=x\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{MANIFEST}",
        MANIFEST.len()
    )
}

fn builder(deployment: &str, insecure: bool) -> Builder {
    let nobody = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("no cluster") });
    let mut provider = ProviderConfig::kubernetes("demo");
    let mut deployment = DeploymentRegistry::new(deployment).unwrap();
    deployment.insecure = insecure;
    provider.deployment_registry = Some(deployment);
    Builder::options(provider).client(Client::new(nobody, "default")).connect().unwrap()
}

async fn refused(builder: &Builder, from: &str, to: &str, change: impl Fn(&mut PublishRequest)) -> Error {
    let name = |registry: &str| format!("{registry}/team/api:v1").parse().unwrap();
    let mut request = PublishRequest::of_reference(name(from), name(to));
    // Else those of this machine's `docker login` would count.
    request.credentials = Some(Credentials::new());
    change(&mut request);
    builder.publish(request).await.unwrap_err()
}

#[tokio::test]
async fn a_destination_that_cannot_be_used_is_mended_in_the_request() {
    let source = registry("200 OK");
    let builder = builder(&source, true);
    let hint = async |to: String, change: fn(&mut PublishRequest)| {
        let error = refused(&builder, &source, &to, change).await;
        let hint = error.hint_data().unwrap_or_else(|| panic!("{error}")).clone();
        assert!(
            !hint.text.contains("deploymentRegistry") && !hint.text.contains("imagePullSecret"),
            "{error}"
        );
        (hint.code, hint.options.join(" "))
    };
    let set = |option: &str| (HintCode::SetRequest, option.to_owned());
    let unknown_authority = hint(registry_with_tls().await, |_| ()).await;
    assert_eq!(unknown_authority, set("caCertificates"));
    let no_certificate =
        hint(registry_with_tls().await, |request| request.ca_certificates = Some(b"none".to_vec())).await;
    assert_eq!(no_certificate, set("caCertificates"));
    let plain_http = hint(registry("200 OK"), |_| ()).await;
    assert_eq!(plain_http, set("insecure"));
    let tls = hint(registry_with_tls().await, |request| request.insecure = true).await;
    assert_eq!(tls, set("insecure"));
    let anonymous = hint(registry("401 Unauthorized"), |request| request.insecure = true).await;
    assert_eq!(anonymous, (HintCode::LogIn, "credentials".to_owned()));
}

#[tokio::test]
async fn a_source_that_cannot_be_used_is_mended_in_the_project() {
    let destination = registry("404 Not Found");
    for (source, insecure, option) in [
        (registry_with_tls().await, false, "deploymentRegistry.caCertificate"),
        (registry("200 OK"), false, "deploymentRegistry.insecure: true"),
        (registry("401 Unauthorized"), true, "imagePullSecrets"),
    ] {
        let builder = builder(&source, insecure);
        let error = refused(&builder, &source, &destination, |request| request.insecure = true).await;
        assert_ne!(error.kind(), ErrorKind::NotFound, "{error}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains(option) && !hint.contains("PublishRequest"), "{error}: {hint}");
    }
}
