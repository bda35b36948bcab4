//! What an answer to a HEAD means.

use std::sync::atomic::{AtomicUsize, Ordering};

use garden_build_core::{Digest, ErrorKind, ImageReference};
use garden_registry::{RegistryError, Remedies, Resolution};

use crate::support::{FakeServer, MANIFEST, body, digest, found, image, status, with};

#[tokio::test]
async fn an_image_exists_with_the_digest_that_the_registry_says() {
    let server = FakeServer::start(|_| found()).await;
    let client = server.plain().build().expect("valid");
    assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));

    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("HEAD", "/v2/team/api/manifests/v1"));
    assert_eq!(seen.authorization(), None);
    assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("garden-build/")));
    let accept = seen.header("accept").expect("an Accept");
    for kind in [
        "vnd.oci.image.index.v1",
        "vnd.oci.image.manifest.v1",
        "vnd.docker.distribution.manifest.list.v2",
        "vnd.docker.distribution.manifest.v2",
    ] {
        assert!(accept.contains(kind), "{accept}");
    }
    assert_eq!(server.seen().len(), 1, "no ping of /v2/, no second question");
}

#[tokio::test]
async fn a_missing_image_is_an_answer_and_not_asked_for_twice() {
    let server = FakeServer::start(|_| status(404)).await;
    let client = server.plain().build().expect("valid");
    assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Missing);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn without_a_digest_in_the_header_the_manifest_is_digested() {
    for header in [None, Some("sha512:00"), Some("nonsense")] {
        let server = FakeServer::start(move |seen| {
            let answer = if seen.method == "GET" { body(200, MANIFEST) } else { status(200) };
            header.map_or(answer.clone(), |header| with(answer, "docker-content-digest", header))
        })
        .await;
        let client = server.plain().build().expect("valid");
        assert_eq!(client.resolve(&server.image()).await.expect("an answer").digest(), Some(digest()));
    }
}

#[tokio::test]
async fn what_is_not_a_manifest_does_not_make_an_image_exist() {
    let page: &[u8] = b"<!DOCTYPE html><title>Log in</title>";
    for (content_type, content, instead) in [
        (Some("text/html; charset=utf-8"), page, "a web page"),
        (Some("application/vnd.oci.image.manifest.v1+json"), page, "not JSON"),
        (None, page, "not JSON"),
        (Some("application/json"), &b""[..], "nothing"),
        (Some("application/json"), &br#"{"status":"ok"}"#[..], "JSON of another kind"),
        (Some("application/json"), &br#"["schemaVersion"]"#[..], "not JSON"),
    ] {
        for names_digest in [false, true] {
            let server = FakeServer::start(move |seen| {
                // At another place, as a page for logging in is.
                if !seen.path.ends_with("/login") {
                    return with(status(302), "location", "/login");
                }
                let answer = if seen.method == "GET" { body(200, content) } else { status(200) };
                let answer = content_type.map_or(answer.clone(), |value| with(answer, "content-type", value));
                // Whoever answers may make up any header.
                let digest = Digest::of(content).to_string();
                if names_digest && content_type == Some("text/html; charset=utf-8") {
                    with(answer, "docker-content-digest", &digest)
                } else {
                    answer
                }
            })
            .await;
            let client = server.plain().build().expect("valid");
            let error = client.resolve(&server.image()).await.expect_err("not a manifest");
            assert!(matches!(error, RegistryError::Unexpected { .. }), "{error}");
            let error = error.explain(&Remedies::OF_PROGRAM);
            assert!(
                error.message().contains(instead) && error.message().contains("instead of a manifest"),
                "{error}"
            );
            assert!(error.message().contains(&server.name()), "{error}");
            assert!(
                error.hint().is_some_and(|hint| hint.contains("host and port are those of a registry")),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_manifest_of_any_type_is_one_by_its_content() {
    for content_type in ["application/json", "text/plain", "application/octet-stream"] {
        let server = FakeServer::start(move |seen| {
            let answer = if seen.method == "GET" { body(200, MANIFEST) } else { status(200) };
            with(answer, "content-type", content_type)
        })
        .await;
        let client = server.plain().build().expect("valid");
        assert_eq!(client.resolve(&server.image()).await.expect("an answer").digest(), Some(digest()));
    }
}

#[tokio::test]
async fn a_manifest_without_end_is_not_read_to_its_end() {
    let server = FakeServer::start(|seen| {
        if seen.method == "GET" { body(200, vec![b' '; 5 * 1024 * 1024]) } else { status(200) }
    })
    .await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("too large");
    assert!(matches!(error, RegistryError::TooLarge { limit: 4_194_304, .. }), "{error}");
}

#[tokio::test]
async fn a_digest_is_asked_for_by_digest_and_must_come_back() {
    let server = FakeServer::start(|_| found()).await;
    let client = server.plain().build().expect("valid");
    let by_digest = |digest: Digest| -> ImageReference { server.image().at(digest).parse().expect("valid") };
    assert_eq!(client.resolve(&by_digest(digest())).await.expect("an answer").digest(), Some(digest()));
    assert!(server.seen()[0].path.ends_with(&format!("/manifests/{}", digest())));
    let error = client.resolve(&by_digest(Digest::of(b"other"))).await.expect_err("another digest");
    assert!(matches!(error, RegistryError::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn an_overloaded_registry_is_asked_again() {
    for code in [429, 500, 503] {
        let asked = AtomicUsize::new(0);
        let server = FakeServer::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => with(status(code), "retry-after", "0"),
            _ => found(),
        })
        .await;
        let client = server.plain().build().expect("valid");
        assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn it_is_asked_three_times_and_then_reported() {
    let server = FakeServer::start(|_| status(503)).await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("busy");
    assert_eq!(server.seen().len(), 3);
    let error = error.explain(&Remedies::OF_PROGRAM);
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true));
}

#[tokio::test]
async fn a_registry_that_wants_a_long_pause_is_left_alone() {
    let server = FakeServer::start(|_| with(status(429), "retry-after", "3600")).await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("busy");
    assert!(error.to_string().ends_with("answered 429 Too Many Requests and asks to wait 3600 s"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_fetched_once() {
    let server = FakeServer::start(|seen| match seen.method.as_str() {
        "GET" => body(403, r#"{"errors":[{"code":"DENIED","message":"quota of team exceeded"}]}"#),
        _ => status(403),
    })
    .await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("forbidden");
    assert!(matches!(&error, RegistryError::Forbidden(_)), "{error}");
    let error = error.explain(&Remedies::OF_PROGRAM);
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("DENIED: quota of team exceeded"), "{error}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn the_page_of_a_proxy_that_filters_says_nothing_of_credentials() {
    let server = FakeServer::start(|seen| match seen.method.as_str() {
        "GET" => body(403, "<!DOCTYPE html><html><title>Blocked by policy</title></html>"),
        _ => status(403),
    })
    .await;
    let error = server.plain().build().expect("valid").resolve(&server.image()).await.expect_err("blocked");
    assert!(matches!(&error, RegistryError::Unexpected { .. }), "{error}");
    let error = error.explain(&Remedies::OF_PROGRAM);
    assert!(error.message().contains("a web page instead of an answer"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("no proxy answers in its place")), "{error}");
}

#[tokio::test]
async fn an_unknown_name_is_missing_whatever_the_status() {
    let server = FakeServer::start(|_| body(400, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#)).await;
    let client = server.plain().build().expect("valid");
    assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Missing);
}

#[tokio::test]
async fn an_image_of_another_registry_is_refused_before_anything_is_sent() {
    let server = FakeServer::start(|_| found()).await;
    let client = server.plain().build().expect("valid");
    let error = client.resolve(&image("other.example")).await.expect_err("another registry");
    assert!(matches!(error, RegistryError::WrongRegistry { .. }), "{error}");
    assert!(server.seen().is_empty());
}
