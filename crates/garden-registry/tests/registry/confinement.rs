//! Credentials go to the registry and its token server, and to nobody else.

use garden_build_testing::Authority;
use garden_registry::{RegistryError, Resolution};
use serde_json::json;

use crate::support::{FakeServer, PASSWORD, Seen, body, challenge, credentials, digest, found, status, with};

fn is_authorised(seen: &Seen) -> bool {
    seen.authorization().is_some()
}

/// A registry that wants Basic credentials and then redirects.
async fn redirecting(code: u16, location: String) -> FakeServer {
    FakeServer::start(move |seen| match (seen.path.as_str(), is_authorised(seen)) {
        (_, false) => challenge("Basic realm=x"),
        ("/elsewhere", true) => found(),
        _ => with(status(code), "location", &location),
    })
    .await
}

#[tokio::test]
async fn a_redirect_to_another_host_does_not_take_the_credentials_along() {
    for code in [301, 302, 303, 307, 308] {
        let storage = FakeServer::start(|_| found()).await;
        let server = redirecting(code, format!("http://{}/blob?signature=x", storage.name())).await;
        let client = server.plain().credentials(credentials(&server.name())).build().expect("valid");
        assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
        let seen = storage.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].method.as_str(), seen[0].query.as_str()), ("HEAD", "signature=x"));
        assert!(!is_authorised(&seen[0]), "{seen:?}");
    }
}

#[tokio::test]
async fn a_redirect_within_the_registry_does() {
    let server = redirecting(307, "/elsewhere".to_owned()).await;
    let client = server.plain().credentials(credentials(&server.name())).build().expect("valid");
    assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
}

#[tokio::test]
async fn who_was_redirected_to_gets_no_credentials_by_asking_for_them() {
    let realm = FakeServer::start(|_| body(200, r#"{"token":"t1"}"#)).await;
    let bearer = format!(r#"Bearer realm="http://{}/""#, realm.name());
    for text in ["Basic realm=x".to_owned(), bearer] {
        let storage = FakeServer::start(move |_| challenge(&text)).await;
        let location = format!("http://{}/", storage.name());
        let server = FakeServer::start(move |_| with(status(307), "location", &location)).await;
        let client = server.plain().credentials(credentials(&server.name())).build().expect("valid");
        let error = client.resolve(&server.image()).await.expect_err("refused");
        assert!(matches!(error, RegistryError::Redirect { .. }), "{error}");
        assert_eq!((server.seen().len(), storage.seen().len(), realm.seen().len()), (1, 1, 0));
    }
}

#[tokio::test]
async fn redirects_end() {
    let server = FakeServer::start(|seen| with(status(307), "location", &seen.path)).await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("a circle");
    assert!(matches!(error, RegistryError::Redirect { .. }), "{error}");
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn tls_is_never_left_by_a_redirect() {
    let authority = Authority::new();
    let storage = FakeServer::start(|_| found()).await;
    let location = format!("http://{}/", storage.name());
    let server = FakeServer::start_tls(&authority, move |_| with(status(307), "location", &location)).await;
    let client = server.client().ca_certificates(authority.pem()).build().expect("valid");
    let error = client.resolve(&server.image()).await.expect_err("a downgrade");
    assert!(matches!(error, RegistryError::Redirect { .. }), "{error}");
    assert!(storage.seen().is_empty());
}

#[tokio::test]
async fn a_token_server_without_tls_gets_nothing_from_a_registry_with_tls() {
    let authority = Authority::new();
    let realm = FakeServer::start(|_| body(200, r#"{"token":"t1"}"#)).await;
    let text = format!(r#"Bearer realm="http://{}/token",service="registry""#, realm.name());
    let server = FakeServer::start_tls(&authority, move |_| challenge(&text)).await;
    let client = server.client().ca_certificates(authority.pem()).credentials(credentials(&server.name()));
    let error = client.build().expect("valid").resolve(&server.image()).await.expect_err("a downgrade");
    assert!(matches!(error, RegistryError::Authentication { .. }), "{error}");
    assert!(error.to_string().contains("without TLS"), "{error}");
    assert!(realm.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_of_the_token_server_takes_neither_password_nor_refresh_token_along() {
    let other = FakeServer::start(|_| body(200, r#"{"token":"t1"}"#)).await;
    let location = format!("http://{}/", other.name());
    let realm = FakeServer::start(move |_| with(status(307), "location", &location)).await;
    let text = format!(r#"Bearer realm="http://{}/token""#, realm.name());
    let server = FakeServer::start(move |_| challenge(&text)).await;
    let logins = [json!({ "username": "user", "password": PASSWORD }), json!({ "identitytoken": PASSWORD })];
    for login in logins {
        let config = json!({ "auths": { server.name(): login } }).to_string();
        let credentials = garden_registry::Credentials::from_docker_config_json(config.as_bytes(), "test");
        let client = server.plain().credentials(credentials.expect("valid")).build().expect("valid");
        client.resolve(&server.image()).await.expect_err("nobody is let in");
    }
    assert_eq!((realm.seen().len(), other.seen().len()), (2, 1), "a POST is not redirected");
    assert!(!other.seen().iter().any(is_authorised));
}
