//! Uploads that cannot go in one piece, or not at the first attempt.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use garden_registry::{Descriptor, Sent, Uploaded};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};

use super::PROGRAMS;
use crate::images::noise;
use crate::proxy::{Fault, Proxy};
use crate::registry::{Guard, Registry, client_at};
use crate::support::{Seen, challenge, status};
use crate::token_server::TokenServer;

const MEBIBYTE: usize = 1 << 20;

fn is_patch(seen: &Seen) -> bool {
    seen.method == "PATCH"
}

fn length(seen: &Seen) -> usize {
    seen.headers[CONTENT_LENGTH].to_str().expect("text").parse().expect("a number")
}

/// Uploads `content` through `proxy`, and checks what the registry then has.
async fn upload(registry: &Registry, proxy: &Proxy, content: &Bytes) {
    let blob = Descriptor::of("application/octet-stream", content);
    let client = client_at(proxy.address);
    let sent = client.upload_blob("team/api", &blob, None, content, &Sent::untold()).await;
    assert_eq!(sent.expect("sent"), Uploaded::Sent);
    let there = registry.client().blob("team/api", &blob).expect("valid").bytes(1 << 30).await;
    assert!(there.expect("read") == *content);
}

#[tokio::test]
async fn what_is_too_large_for_a_proxy_goes_in_chunks_and_on_where_it_broke() {
    garden_test_programs::needs!(Go, DockerRegistry);
    let content = Bytes::from(vec![7; 40 * MEBIBYTE]);
    for program in PROGRAMS {
        let registry = Registry::start(program, Guard::Basic).await;
        let patches = AtomicUsize::new(0);
        let proxy = Proxy::start(registry.address(), move |seen| {
            if !is_patch(seen) {
                return Fault::None;
            }
            match (length(seen) > 16 * MEBIBYTE, patches.fetch_add(1, Ordering::Relaxed)) {
                (true, _) => Fault::Instead(status(413)),
                // The second chunk does not arrive.
                (false, 2) => Fault::Cut,
                _ => Fault::None,
            }
        })
        .await;
        upload(&registry, &proxy, &content).await;
        let seen = proxy.seen();
        let ranges = seen.iter().filter(|seen| is_patch(seen)).map(|seen| {
            seen.headers.get(CONTENT_RANGE).map_or("all", |range| range.to_str().expect("text")).to_owned()
        });
        let (first, second, last) = ("0-16777215", "16777216-33554431", "33554432-41943039");
        assert_eq!(ranges.collect::<Vec<_>>(), ["all", first, second, second, last]);
    }
}

#[tokio::test]
async fn a_token_that_ends_during_an_upload_is_renewed() {
    garden_test_programs::needs!(Go, DockerRegistry);
    let content = noise("renewed", MEBIBYTE);
    for program in PROGRAMS {
        let registry = Registry::start(program, Guard::Token).await;
        let tokens = registry.tokens.as_ref().expect("a token server");
        let wanted = format!(r#"Bearer realm="{}",service="{}""#, tokens.realm(), TokenServer::SERVICE);
        let patches = AtomicUsize::new(0);
        let proxy = Proxy::start(registry.address(), move |seen| {
            if is_patch(seen) && patches.fetch_add(1, Ordering::Relaxed) == 0 {
                return Fault::Instead(challenge(&wanted));
            }
            Fault::None
        })
        .await;
        upload(&registry, &proxy, &content).await;
        let presented: Vec<_> = proxy
            .seen()
            .iter()
            .filter(|seen| is_patch(seen))
            .map(|seen| seen.authorization().map(str::to_owned))
            .collect();
        assert!(presented.len() == 2 && presented[0] != presented[1], "{presented:?}");
        assert_eq!(tokens.seen().len(), 2 + 1, "one of them for the check");
    }
}
