//! A registry that sends its clients elsewhere: to the storage behind it, or to somebody curious.

use std::sync::Arc;

use futures::future::join_all;
use garden_build_core::Digest;
use garden_registry::{RegistryError, Sent};

use super::PROGRAMS;
use crate::images::{Image, pull};
use crate::proxy::{Fault, Proxy};
use crate::registry::{Guard, Registry, client_at};
use crate::support::{FakeServer, Seen, body, challenge, status, with};

const GUARDS: [Guard; 2] = [Guard::Basic, Guard::Token];

fn knows_us(seen: &Seen) -> bool {
    seen.authorization().is_some()
}

/// A registry that leaves its blobs to `storage`, once somebody who may read them asks.
async fn registry_before(registry: &Registry, storage: &FakeServer, code: u16) -> Proxy {
    let storage = storage.name();
    Proxy::start(registry.address(), move |seen| {
        let is_blob = seen.method == "GET" && seen.path.contains("/blobs/sha256:");
        match (is_blob, seen.path.rsplit('/').next()) {
            (true, Some(digest)) if knows_us(seen) => {
                let location = format!("http://{storage}/{digest}?signature=x");
                Fault::Instead(with(status(code), "location", &location))
            }
            _ => Fault::None,
        }
    })
    .await
}

#[tokio::test]
async fn storage_is_read_without_credentials() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for (program, guard) in PROGRAMS.into_iter().flat_map(|program| GUARDS.map(|guard| (program, guard))) {
        let registry = Registry::start(program, guard).await;
        let image = Arc::new(Image::new("stored", &[1_000, 200_000]));
        image.push(&registry.client(), &registry.image("team/api", "v1")).await;
        for code in [301, 302, 303, 307, 308] {
            let stored = Arc::clone(&image);
            let storage = FakeServer::start(move |seen| {
                let digest: Digest = seen.path.trim_start_matches('/').parse().expect("a digest");
                let blob = stored.blobs.iter().find(|(descriptor, _)| descriptor.digest == digest);
                blob.map_or_else(|| status(404), |(_, content)| body(200, content.clone()))
            })
            .await;
            let proxy = registry_before(&registry, &storage, code).await;
            let pulled = pull(&client_at(proxy.address), &proxy.image("team/api", "v1")).await;
            assert!(pulled.expect("pulled").as_ref() == Some(&*image), "{code}");
            let seen = storage.seen();
            assert_eq!(seen.len(), image.blobs.len());
            assert!(seen.iter().all(|seen| !knows_us(seen) && seen.query == "signature=x"), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn storage_that_has_something_else_or_asks_who_we_are_gets_nothing() {
    garden_test_programs::needs!(Go, DockerRegistry);
    let registry = Registry::start(PROGRAMS[1], Guard::Basic).await;
    let image = Image::new("stored", &[1_000]);
    image.push(&registry.client(), &registry.image("team/api", "v1")).await;
    let try_with = async |answer: fn(&Seen) -> crate::support::Answer| {
        let storage = FakeServer::start(answer).await;
        let proxy = registry_before(&registry, &storage, 307).await;
        let client = client_at(proxy.address);
        let layer = client.blob("team/api", &image.blobs[1].0).expect("valid");
        let error = layer.bytes(1 << 20).await.expect_err("not what was asked for");
        assert!(storage.seen().iter().all(|seen| !knows_us(seen)));
        error
    };
    let other = try_with(|_| body(200, vec![b'x'; 1_000])).await;
    assert!(matches!(other, RegistryError::WrongContent { .. }), "{other}");
    let longer = try_with(|_| body(200, vec![b'x'; 1_001])).await;
    assert!(matches!(longer, RegistryError::WrongContent { .. }), "{longer}");
    let curious = try_with(|_| challenge("Basic realm=x")).await;
    assert!(matches!(curious, RegistryError::Redirect { .. }), "{curious}");
    let denied = try_with(|_| body(403, "<Error><Code>SignatureExpired</Code></Error>")).await;
    assert!(denied.to_string().contains("403") || matches!(denied, RegistryError::Forbidden(_)), "{denied}");
}

/// An upload that is to go on at another host: registries do that, too, so content goes there, but no credentials.
#[tokio::test]
async fn uploads_elsewhere_are_made_without_credentials() {
    garden_test_programs::needs!(Go, DockerRegistry);
    let image = Image::new("uploaded", &[1_000]);
    let (descriptor, content) = &image.blobs[1];
    let uploads = PROGRAMS.into_iter().flat_map(|program| GUARDS.map(|guard| (program, guard)));
    join_all(uploads.map(async |(program, guard)| {
        let registry = Registry::start(program, guard).await;
        let elsewhere = FakeServer::start(|seen| match seen.method.as_str() {
            "PATCH" => with(status(202), "location", "/next"),
            "PUT" => status(201),
            _ => status(204),
        })
        .await;
        let location = format!("http://{}/first", elsewhere.name());
        let proxy = Proxy::start(registry.address(), move |seen| match seen.method.as_str() {
            "POST" if knows_us(seen) => Fault::Instead(with(status(202), "location", &location)),
            _ => Fault::None,
        })
        .await;
        let client = client_at(proxy.address);
        let sent = client.upload_blob("team/api", descriptor, None, content, &Sent::untold()).await;
        sent.expect("sent");
        let seen = elsewhere.seen();
        assert_eq!(seen.iter().map(|seen| seen.method.as_str()).collect::<Vec<_>>(), ["PATCH", "PUT"]);
        assert!(seen.iter().all(|seen| !knows_us(seen)), "{seen:?}");
    }))
    .await;
}
