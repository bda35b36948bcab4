use std::sync::Arc;

use k8s_openapi::ByteString;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::*;

fn secret(contents: BTreeMap<String, String>) -> Secret {
    let data = contents.into_iter().map(|(name, value)| (name, ByteString(value.into_bytes()))).collect();
    Secret { data: Some(data), ..Secret::default() }
}

fn generated() -> BTreeMap<String, String> {
    generate().expect("certificates")
}

fn refusal_of(contents: BTreeMap<String, String>) -> String {
    let error = read("demo", &secret(contents)).expect_err("damaged");
    let error = garden_build_core::Error::from(error);
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("kubectl delete secret garden-buildkit-tls --namespace demo"), "{hint}");
    error.message().to_owned()
}

#[test]
fn what_is_made_can_be_read_and_is_new_each_time() {
    let contents = generated();
    let expected: Vec<String> = redacted().into_keys().collect();
    assert_eq!(contents.keys().cloned().collect::<Vec<_>>(), expected);
    let one = read("demo", &secret(contents.clone())).expect("whole");
    assert_eq!(one.fingerprint, read("demo", &secret(contents)).expect("whole").fingerprint);
    let other = read("demo", &secret(generated())).expect("whole");
    assert_ne!(one.fingerprint, other.fingerprint);
}

#[test]
fn a_damaged_secret_is_named_with_what_is_wrong_and_what_to_do() {
    for name in redacted().into_keys() {
        let mut contents = generated();
        contents.remove(&name);
        let expected = format!("Secret demo/garden-buildkit-tls cannot be used: it has no `{name}`");
        assert_eq!(refusal_of(contents), expected);

        let mut contents = generated();
        contents.insert(name.clone(), "damaged".to_owned());
        let message = refusal_of(contents);
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
    for key in [SERVER_KEY, CLIENT_KEY] {
        let mut contents = generated();
        contents.insert(key.to_owned(), generated()[key].clone());
        let message = refusal_of(contents);
        assert!(message.contains(&format!("`{key}`")), "{message}");
    }
}

#[test]
fn keys_show_nowhere() {
    let contents = generated();
    let certificates = read("demo", &secret(contents.clone())).expect("whole");
    let mut damaged = contents.clone();
    damaged.insert(CLIENT_CERTIFICATE.to_owned(), String::new());
    let shown = format!("{certificates:?} {:?} {}", redacted(), refusal_of(damaged));
    for key in [SERVER_KEY, CLIENT_KEY] {
        let secret_line = contents[key].lines().nth(1).expect("a line of the key");
        assert!(!shown.contains(secret_line), "{key} shows");
    }
}

/// What a daemon with these contents says to a client with that identity.
async fn conversation(server: &BTreeMap<String, String>, client: &TlsIdentity) -> std::io::Result<String> {
    let der = |name: &str| CertificateDer::from_pem_slice(server[name].as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(der(CA_CERTIFICATE)).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_slice(server[SERVER_KEY].as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![der(SERVER_CERTIFICATE)], key)
        .expect("a certificate");
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let serving = async {
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(theirs).await?;
        stream.write_all(b"welcome").await?;
        stream.shutdown().await
    };
    let asking = async {
        let mut answer = String::new();
        client.encrypt(ours).await?.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let (_, answer) = tokio::join!(serving, asking);
    answer
}

#[tokio::test]
async fn both_sides_take_only_certificates_of_their_own_authority() {
    let server = generated();
    let own = read("demo", &secret(server.clone())).expect("whole").identity;
    assert_eq!(conversation(&server, &own).await.expect("welcome"), "welcome");

    let stranger = read("demo", &secret(generated())).expect("whole").identity;
    let error = conversation(&server, &stranger).await.expect_err("another daemon");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    let impostor = TlsIdentity { certificate_authority: own.certificate_authority.clone(), ..stranger };
    conversation(&server, &impostor).await.expect_err("another client");
    // The daemon's own certificate is not a client certificate, although the same authority has signed it.
    let daemon = TlsIdentity {
        certificate: server[SERVER_CERTIFICATE].clone(),
        key: server[SERVER_KEY].clone().into(),
        ..own.clone()
    };
    conversation(&server, &daemon).await.expect_err("not a client's certificate");
    let mut swapped = server.clone();
    swapped.insert(SERVER_CERTIFICATE.to_owned(), server[CLIENT_CERTIFICATE].clone());
    swapped.insert(SERVER_KEY.to_owned(), server[CLIENT_KEY].clone());
    conversation(&swapped, &own).await.expect_err("not a daemon's certificate");
}
