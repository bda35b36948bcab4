//! Who is let in by real registries, and what the others are told.
//!
//! Source: distribution project, "Token Authentication Specification".

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use garden_registry::{Credentials, Identity, RegistryClient, RegistryError, Sent, TlsProblem, Uploaded};
use serde_json::json;

use super::on_every_registry;
use crate::images::Image;
use crate::process::Program;
use crate::registry::{Guard, Registry};
use crate::support::PASSWORD;
use crate::token_server::REFRESH_TOKEN;

on_every_registry! { only_who_is_let_in_gets_anything }

async fn only_who_is_let_in_gets_anything(registry: &Registry) {
    let image = Image::new("guarded", &[1_000]);
    let reference = registry.image("team/api", "v1");
    image.push(&registry.client(), &reference).await;

    let stranger = match registry.guard {
        Guard::Tls => RegistryClient::builder(registry.name()).build().expect("valid"),
        _ => registry.client_with(Credentials::new()),
    };
    let wrong = registry.login(&json!({ "username": "user", "password": "wrong-s3cret" }));
    let wrong = registry.client_with(wrong);
    for client in [&stranger, &wrong] {
        let errors = [
            client.resolve(&reference).await.err(),
            client.manifest(&reference).await.err(),
            client.tags("team/api").await.err(),
            client.repositories().await.err(),
            client.blob("team/api", &image.blobs[1].0).expect("valid").bytes(1 << 20).await.err(),
        ];
        for error in errors {
            let shown = format!("{error:?}");
            match (registry.guard, error) {
                (Guard::Open, None) => {}
                // The certificate is what strangers lack; a password is not asked for.
                (Guard::Tls, None) => assert!(std::ptr::eq(client, &raw const wrong)),
                (Guard::Tls, Some(RegistryError::Tls { problem, .. })) => {
                    assert!(matches!(problem, TlsProblem::UnknownAuthority { .. }), "{problem}");
                }
                (Guard::Basic | Guard::Token, Some(RegistryError::Unauthorized(refusal))) => {
                    let is_stranger = std::ptr::eq(client, &raw const stranger);
                    assert_eq!(refusal.identity == Identity::Anonymous, is_stranger, "{shown}");
                }
                (_, error) => panic!("{error:?}"),
            }
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}

async fn with_tokens(program: Program) -> Registry {
    Registry::start(program, Guard::Token).await
}

const PROGRAMS: [Program; 2] = [Program::DockerRegistry, Program::Distribution];

#[tokio::test]
async fn a_token_for_one_repository_opens_no_other() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for program in PROGRAMS {
        let registry = with_tokens(program).await;
        let client = registry.client();
        let image = Image::new("one", &[100]);
        image.push(&client, &registry.image("team/api", "v1")).await;
        let closed = client.resolve(&registry.image("closed/api", "v1")).await.expect_err("closed");
        assert!(matches!(closed, RegistryError::Forbidden(_)), "{closed}");
        let read_only = image.try_push(&client, &registry.image("read-only/api", "v1")).await;
        let read_only = read_only.expect_err("no pushing there");
        assert!(matches!(read_only, RegistryError::Forbidden(_)), "{read_only}");
        assert!(read_only.to_string().contains("read-only/api"), "{read_only}");
        image.push(&client, &registry.image("public/api", "v1")).await;
        let anonymous = registry.client_with(Credentials::new());
        let found = anonymous.manifest(&registry.image("public/api", "v1")).await.expect("an answer");
        assert_eq!(found, Some(image.manifest));
    }
}

#[tokio::test]
async fn what_may_not_be_read_elsewhere_is_sent_instead_of_mounted() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for program in PROGRAMS {
        let registry = with_tokens(program).await;
        let client = registry.client();
        let image = Image::new("unmountable", &[1_000]);
        let (descriptor, content) = &image.blobs[1];
        let sent =
            client.upload_blob("team/api", descriptor, Some("closed/api"), content, &Sent::untold()).await;
        assert_eq!(sent.expect("sent"), Uploaded::Sent);
    }
}

#[tokio::test]
async fn an_identity_token_is_exchanged_for_tokens() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for program in PROGRAMS {
        let registry = with_tokens(program).await;
        let login = json!({ "auth": BASE64_STANDARD.encode("user:"), "identitytoken": REFRESH_TOKEN });
        let client = registry.client_with(registry.login(&login));
        let image = Image::new("identity", &[100]);
        image.push(&client, &registry.image("team/api", "v1")).await;
        let asked = registry.tokens.as_ref().expect("a token server").seen();
        assert!(asked.iter().all(|seen| seen.method == "POST" && !seen.query.contains(REFRESH_TOKEN)));
    }
}

#[tokio::test]
async fn tokens_are_renewed_when_they_end_and_only_then() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for program in PROGRAMS {
        let registry = with_tokens(program).await;
        let tokens = registry.tokens.as_ref().expect("a token server");
        let client = registry.client();
        let (lasting, short) = (Image::new("lasting", &[100; 20]), Image::new("short", &[100; 20]));
        lasting.push(&client, &registry.image("team/api", "v1")).await;
        let asked = tokens.seen().len();
        assert!(asked <= 2, "{asked} tokens for one repository");

        tokens.set_lifetime(Duration::from_secs(1));
        for (descriptor, content) in &short.blobs[..4] {
            let sent = client.upload_blob("team/web", descriptor, None, content, &Sent::untold()).await;
            assert_eq!(sent.expect("sent"), Uploaded::Sent);
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        assert!(tokens.seen().len() >= asked + 4, "{:?}", tokens.seen());
    }
}

#[tokio::test]
async fn no_secret_is_sent_where_it_does_not_belong() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for program in PROGRAMS {
        let registry = with_tokens(program).await;
        let client = registry.client();
        Image::new("secret", &[100]).push(&client, &registry.image("team/api", "v1")).await;
        for seen in registry.tokens.as_ref().expect("a token server").seen() {
            assert!(!seen.query.contains(PASSWORD) && !seen.text().contains(PASSWORD), "{seen:?}");
        }
        assert!(!format!("{client:?}").contains(PASSWORD));
    }
}
