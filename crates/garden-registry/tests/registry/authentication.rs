//! Basic and bearer authentication, with good credentials, wrong ones, and none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use garden_build_core::ErrorKind;
use garden_registry::{Credentials, Identity, RegistryError, Remedies, Resolution};
use serde_json::json;

use crate::support::{
    Answer, FakeServer, ORIGIN, PASSWORD, Seen, body, challenge, credentials, digest, found, status,
};

fn basic() -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("user:{PASSWORD}")))
}

fn fields(text: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// A registry that lets in who has `token`, and sends the others to `realm`.
async fn bearer_registry(realm: &FakeServer, token: &'static str) -> FakeServer {
    let text = format!(
        r#"Bearer realm="http://{}/token?account=x",service="a registry & more",scope="repository:team/api:pull""#,
        realm.name()
    );
    FakeServer::start(move |seen| match seen.authorization() {
        Some(authorization) if authorization == format!("Bearer {token}") => found(),
        _ => challenge(&text),
    })
    .await
}

fn token(seen: &Seen) -> Answer {
    match seen.authorization() {
        None => body(401, r#"{"details":"log in first"}"#),
        Some(given) if given == basic() => body(200, json!({ "token": "t1", "expires_in": 300 }).to_string()),
        // A server that echoes what it was sent must not lead us to print it.
        Some(given) => body(401, json!({ "details": format!("{given} is wrong") }).to_string()),
    }
}

#[tokio::test]
async fn basic_credentials_are_sent_when_asked_for_and_then_at_once() {
    let server = FakeServer::start(|seen| match seen.authorization() {
        Some(given) if given == basic() => found(),
        _ => challenge(r#"Basic realm="registry""#),
    })
    .await;
    let client = server.plain().credentials(credentials(&server.name())).build().expect("valid");
    for _ in 0..2 {
        assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
    }
    let given: Vec<_> = server.seen().iter().map(|seen| seen.authorization().is_some()).collect();
    assert_eq!(given, [false, true, true]);
}

#[tokio::test]
async fn without_credentials_the_error_asks_for_some() {
    let server = FakeServer::start(|_| challenge("Basic realm=x")).await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("401");
    assert!(
        matches!(&error, RegistryError::Unauthorized(refusal) if refusal.identity == Identity::Anonymous)
    );
    let error = error.explain(&Remedies::OF_PROGRAM);
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let hint = error.hint().expect("a hint");
    assert!(
        error.message().contains(&server.name()) && hint.contains("RegistryClientBuilder::credentials"),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_again_and_the_error_names_its_entry() {
    let server = FakeServer::start(|_| challenge("Basic realm=x")).await;
    let client = server.plain().credentials(credentials(&server.name())).build().expect("valid");
    for expected in [2, 3] {
        let error = client.resolve(&server.image()).await.expect_err("401");
        let shown = format!("{error} {error:?} {client:?}");
        let error = error.explain(&Remedies::OF_PROGRAM);
        let shown = format!("{shown} {error} {error:?}");
        assert!(shown.contains(ORIGIN) && shown.contains(&server.name()), "{shown}");
        assert!(!shown.contains(PASSWORD) && !shown.contains(&basic()), "{shown}");
        assert_eq!(server.seen().len(), expected);
    }
}

#[tokio::test]
async fn a_token_is_fetched_with_the_credentials_and_used_for_the_next_question() {
    let realm = FakeServer::start(token).await;
    let server = bearer_registry(&realm, "t1").await;
    let client = server.plain().credentials(credentials(&server.name())).build().expect("valid");
    for _ in 0..2 {
        assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
    }
    let asked = realm.seen();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].method, "GET");
    let query = fields(&asked[0].query);
    assert_eq!(query["account"], "x", "the realm's own query is kept");
    assert_eq!(query["service"], "a registry & more");
    assert_eq!(query["scope"], "repository:team/api:pull");
    assert_eq!(asked[0].query.matches("scope=").count(), 1);
    assert_eq!(server.seen().len(), 3);
    assert!(server.seen().iter().all(|seen| seen.authorization() != Some(basic().as_str())));
}

#[tokio::test]
async fn an_anonymous_token_is_enough_for_a_public_repository() {
    for answer in [r#"{"access_token":"t1"}"#, r#"{"token":"","access_token":"t1"}"#] {
        let realm = FakeServer::start(move |seen| {
            assert_eq!(seen.authorization(), None);
            body(200, answer)
        })
        .await;
        let server = bearer_registry(&realm, "t1").await;
        let resolution = server.plain().build().expect("valid").resolve(&server.image()).await;
        assert_eq!(resolution.expect("an answer"), Resolution::Exists(digest()));
    }
}

#[tokio::test]
async fn a_token_server_that_refuses_is_quoted_without_what_it_echoes() {
    let realm = FakeServer::start(token).await;
    let server = bearer_registry(&realm, "t1").await;
    let anonymous = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("401");
    assert!(anonymous.to_string().contains("log in first"), "{anonymous}");

    let wrong = json!({ "auths": { server.name(): { "username": "user", "password": "wrong-s3cret" } } });
    let wrong = Credentials::from_docker_config_json(wrong.to_string().as_bytes(), ORIGIN).expect("valid");
    let error = server.plain().credentials(wrong).build().expect("valid").resolve(&server.image()).await;
    let error = error.expect_err("401");
    assert!(matches!(&error, RegistryError::Unauthorized(_)), "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("is wrong"), "{shown}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    for (entry, supports_post) in [
        (json!({ "auth": BASE64_STANDARD.encode("user:"), "identitytoken": "refresh/+ me" }), true),
        (json!({ "username": "<token>", "password": "refresh/+ me" }), true),
        (json!({ "identitytoken": "refresh/+ me" }), false),
    ] {
        let realm = FakeServer::start(move |seen| match seen.method.as_str() {
            "POST" if supports_post => body(200, r#"{"access_token":"t1"}"#),
            "POST" => status(404),
            _ => body(200, r#"{"token":"t1"}"#),
        })
        .await;
        let server = bearer_registry(&realm, "t1").await;
        let config = json!({ "auths": { server.name(): entry } }).to_string();
        let credentials = Credentials::from_docker_config_json(config.as_bytes(), ORIGIN).expect("valid");
        let client = server.plain().credentials(credentials).build().expect("valid");
        assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));

        let asked = realm.seen();
        assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(asked[0].authorization(), None);
        assert!(!asked[0].query.contains("refresh"), "no secret in a URL");
        let form = fields(&asked[0].text());
        assert_eq!(form["grant_type"], "refresh_token");
        assert_eq!(form["refresh_token"], "refresh/+ me");
        assert_eq!(form["service"], "a registry & more");
        assert_eq!(form["scope"], "repository:team/api:pull");
        assert_eq!(asked.len(), if supports_post { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_registry_token_is_presented_as_it_is() {
    let realm = FakeServer::start(|_| status(500)).await;
    let server = bearer_registry(&realm, "direct").await;
    let config = json!({ "auths": { server.name(): { "registrytoken": "direct" } } }).to_string();
    let credentials = Credentials::from_docker_config_json(config.as_bytes(), ORIGIN).expect("valid");
    let client = server.plain().credentials(credentials).build().expect("valid");
    assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
    assert!(realm.seen().is_empty());
}

#[tokio::test]
async fn a_token_is_renewed_when_it_ends_and_when_it_is_refused() {
    let issued = AtomicUsize::new(0);
    let realm = FakeServer::start(move |_| match issued.fetch_add(1, Ordering::Relaxed) {
        0 => body(200, json!({ "token": "t1", "expires_in": 1 }).to_string()),
        number => body(200, json!({ "token": format!("t{}", number + 1) }).to_string()),
    })
    .await;
    let text = format!(r#"Bearer realm="http://{}/""#, realm.name());
    let let_in = AtomicUsize::new(0);
    let server = FakeServer::start(move |seen| match seen.authorization() {
        // The second token is taken back after its first use.
        Some("Bearer t2") if let_in.fetch_add(1, Ordering::Relaxed) > 0 => challenge(&text),
        Some("Bearer t1" | "Bearer t2" | "Bearer t3") => found(),
        _ => challenge(&text),
    })
    .await;
    let client = server.plain().build().expect("valid");
    let resolve = || async { client.resolve(&server.image()).await.expect("an answer") };

    assert_eq!(resolve().await, Resolution::Exists(digest()));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(resolve().await, Resolution::Exists(digest()));
    assert_eq!(realm.seen().len(), 2, "it had ended");
    assert_eq!(resolve().await, Resolution::Exists(digest()));
    assert_eq!(realm.seen().len(), 3, "it had been refused");
}

#[tokio::test]
async fn a_token_that_gives_no_access_is_renewed_only_once_and_not_called_a_wrong_password() {
    let realm = FakeServer::start(token).await;
    let server = bearer_registry(&realm, "another").await;
    let client = server.plain().credentials(credentials(&server.name())).build().expect("valid");
    let error = client.resolve(&server.image()).await.expect_err("401");
    assert!(matches!(error, RegistryError::Forbidden(_)), "{error}");
    assert_eq!((server.seen().len(), realm.seen().len()), (2, 1));
}

#[tokio::test]
async fn a_token_that_was_refused_is_not_presented_to_the_next_question() {
    for refusal in [401, 403] {
        let issued = AtomicUsize::new(0);
        let realm = FakeServer::start(move |_| match issued.fetch_add(1, Ordering::Relaxed) {
            0 => body(200, r#"{"token":"without-access"}"#),
            // Access was granted, but not before the token server had trouble of its own.
            1 => body(401, "{}"),
            _ => body(200, r#"{"token":"with-access"}"#),
        })
        .await;
        let text = format!(r#"Bearer realm="http://{}/""#, realm.name());
        let server = FakeServer::start(move |seen| match seen.authorization() {
            Some("Bearer with-access") => found(),
            Some(_) if refusal == 403 => status(403),
            _ => challenge(&text),
        })
        .await;
        let client = server.plain().credentials(credentials(&server.name())).build().expect("valid");
        let resolve = || async { client.resolve(&server.image()).await };
        assert!(matches!(resolve().await, Err(RegistryError::Forbidden(_))), "{refusal}");
        let before = server.seen().len();
        assert!(matches!(resolve().await, Err(RegistryError::Unauthorized(_))), "{refusal}");
        assert_eq!(resolve().await.expect("access"), Resolution::Exists(digest()), "{refusal}");
        let presented: Vec<_> =
            server.seen()[before..].iter().map(|seen| seen.authorization().map(str::to_owned)).collect();
        assert_eq!(presented, [None, None, Some("Bearer with-access".to_owned())], "{refusal}");
    }
}

#[tokio::test]
async fn an_unknown_scheme_and_a_senseless_token_are_named() {
    let server = FakeServer::start(|_| challenge("Negotiate")).await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("401");
    assert!(error.to_string().contains("offers negotiate"), "{error}");

    for answer in ["", "[]", "{}", r#"{"token":""}"#, r#"{"token":"line\nbreak"}"#] {
        let realm = FakeServer::start(move |_| body(200, answer)).await;
        let server = bearer_registry(&realm, "t1").await;
        let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err(answer);
        assert!(matches!(error, RegistryError::Authentication { .. }), "{error}");
    }
}
