//! What is read comes from a mirror if it has it, and from the registry otherwise.

use bytes::Bytes;
use futures::StreamExt as _;
use garden_registry::{BlobSource as _, Descriptor, RegistryClient};
use http::Method;

use crate::support::{FakeServer, MANIFEST, Seen, body, credentials, digest, image, status, with};

const BLOB: &[u8] = b"0123456789";

/// A server that has the manifest and the blob, and gives parts of it.
fn whole(request: &Seen) -> crate::support::Answer {
    if request.path.contains("/blobs/") {
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        return match range.and_then(|start| start.parse::<usize>().ok()) {
            Some(start) => with(body(206, &BLOB[start..]), "content-range", &format!("bytes {start}-9/10")),
            None => body(200, BLOB),
        };
    }
    body(200, MANIFEST)
}

/// A client of `registry` that asks `mirror` first.
fn client(registry: &FakeServer, mirror: &FakeServer) -> RegistryClient {
    let mirror = mirror.plain().credentials(credentials(&mirror.name())).build().expect("a client");
    registry.plain().credentials(credentials(&registry.name())).mirror(mirror).build().expect("a client")
}

async fn manifest(registry: &FakeServer, mirror: &FakeServer) -> Bytes {
    let image = image(&registry.name()).with_digest(digest());
    let manifest = client(registry, mirror).manifest(&image).await.expect("an answer");
    manifest.expect("there").bytes().clone()
}

async fn blob(registry: &FakeServer, mirror: &FakeServer) -> Vec<u8> {
    let blob = client(registry, mirror).blob("team/api", &Descriptor::of("x", BLOB)).expect("a name");
    let pieces: Vec<_> = blob.read_from(0).collect().await;
    pieces.into_iter().flat_map(|piece| piece.expect("no failure")).collect()
}

#[tokio::test]
async fn what_the_mirror_has_is_not_asked_of_the_registry() {
    let (registry, mirror) = (FakeServer::start(|_| status(500)).await, FakeServer::start(whole).await);
    assert_eq!(manifest(&registry, &mirror).await, MANIFEST);
    assert_eq!(blob(&registry, &mirror).await, BLOB);
    assert!(registry.seen().is_empty());
}

#[tokio::test]
async fn what_the_mirror_lacks_refuses_or_has_wrong_comes_from_the_registry() {
    for answer in [
        status(404),
        status(500),
        body(200, "another manifest"),
        // It may want credentials, which it has not got.
        crate::support::challenge("Basic realm=mirror"),
    ] {
        let (registry, mirror) =
            (FakeServer::start(whole).await, FakeServer::start(move |_| answer.clone()).await);
        assert_eq!(manifest(&registry, &mirror).await, MANIFEST);
        assert!(!mirror.seen().is_empty());
    }
    let (registry, mirror) = (FakeServer::start(whole).await, FakeServer::start(|_| status(404)).await);
    assert_eq!(blob(&registry, &mirror).await, BLOB);
}

#[tokio::test]
async fn what_the_mirror_breaks_off_goes_on_at_the_registry() {
    let mirror = FakeServer::start(|_| body(200, &BLOB[..4])).await;
    let registry = FakeServer::start(whole).await;
    assert_eq!(blob(&registry, &mirror).await, BLOB);
    let asked: Vec<_> = registry.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(asked, [Some("bytes=4-".to_owned())]);
}

#[tokio::test]
async fn whether_an_image_exists_is_asked_of_the_registry_itself() {
    let (registry, mirror) = (FakeServer::start(|_| status(404)).await, FakeServer::start(whole).await);
    let resolution = client(&registry, &mirror).resolve(&registry.image()).await.expect("an answer");
    assert_eq!(resolution.digest(), None);
    assert!(mirror.seen().is_empty() && registry.seen().iter().all(|seen| seen.method == Method::HEAD));
}
