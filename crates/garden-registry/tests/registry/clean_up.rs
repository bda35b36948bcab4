//! What a clean-up asks a registry.

use std::collections::BTreeMap;

use bytes::Bytes;
use garden_build_core::Digest;
use garden_registry::clean_up::{Inventory, KnownManifests, ListedRepository, StorageListing};

use crate::support::{Answer, FakeServer, Seen, body, status, with};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Manifests that a registry has, by digest: their type and content.
type Manifests = BTreeMap<String, (&'static str, String)>;

fn descriptor(media_type: &str, digest: Digest) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1}}"#)
}

fn image(name: &str) -> (Digest, String) {
    let config = descriptor("application/vnd.oci.image.config.v1+json", Digest::of(name.as_bytes()));
    let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
    (Digest::of(text.as_bytes()), text)
}

fn index(children: &[Digest]) -> (Digest, String) {
    let children: Vec<String> = children.iter().map(|child| descriptor(IMAGE, *child)).collect();
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, children.join(","));
    (Digest::of(text.as_bytes()), text)
}

fn last_part(seen: &Seen) -> &str {
    seen.path.rsplit('/').next().unwrap_or_default()
}

fn serve(manifests: &Manifests, seen: &Seen) -> Answer {
    match manifests.get(last_part(seen)) {
        Some((media_type, text)) => with(body(200, Bytes::from(text.clone())), "content-type", media_type),
        None => status(404),
    }
}

fn listing(digests: impl IntoIterator<Item = Digest>) -> StorageListing {
    let manifests = digests.into_iter().map(|digest| (digest, jiff::Timestamp::UNIX_EPOCH)).collect();
    let repository = ListedRepository { manifests, ..ListedRepository::default() };
    StorageListing {
        read_at: jiff::Timestamp::from_second(1_000_000).expect("in range"),
        repositories: [("team/api".to_owned(), repository)].into(),
        ..StorageListing::default()
    }
}

async fn inventory(server: &FakeServer, digests: impl IntoIterator<Item = Digest>) -> Inventory {
    let client = server.plain().build().expect("valid");
    KnownManifests::new().inventory(&listing(digests), &client).await.expect("an inventory")
}

#[tokio::test]
async fn every_manifest_is_asked_for_by_its_digest_and_only_once() {
    let ((amd64, text), (other, other_text)) = (image("amd64"), image("other"));
    let (list, list_text) = index(&[amd64]);
    let manifests: Manifests = [
        (amd64.to_string(), (IMAGE, text)),
        (other.to_string(), (IMAGE, other_text)),
        (list.to_string(), (INDEX, list_text)),
    ]
    .into();
    let server = FakeServer::start(move |seen| serve(&manifests, seen)).await;
    let client = server.plain().build().expect("valid");
    let mut known = KnownManifests::new();
    let first = known.inventory(&listing([amd64, list]), &client).await.expect("an inventory");
    let repository = &first.repositories["team/api"];
    assert_eq!(repository.manifests[&list].references.children, [amd64]);
    assert_eq!(repository.manifests[&amd64].references.config, Some(Digest::of(b"amd64")));

    let second = known.inventory(&listing([amd64, list, other]), &client).await.expect("an inventory");
    assert_eq!(second.repositories["team/api"].manifests.len(), 3);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn what_the_registry_has_lost_is_left_out_and_what_is_not_understood_is_told() {
    let lost = Digest::of(b"lost");
    let damaged = Digest::of(b"damaged");
    let unknown_text = r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned();
    let unknown = Digest::of(unknown_text.as_bytes());
    let manifests: Manifests = [
        (damaged.to_string(), (IMAGE, image("another").1)),
        (unknown.to_string(), ("application/vnd.docker.distribution.manifest.v1+prettyjws", unknown_text)),
    ]
    .into();
    let server = FakeServer::start(move |seen| serve(&manifests, seen)).await;
    let inventory = inventory(&server, [lost, damaged, unknown]).await;
    let repository = &inventory.repositories["team/api"];
    assert!(repository.manifests.is_empty());
    let [first, second] = repository.unreadable.as_slice() else { panic!("{:?}", repository.unreadable) };
    let told = format!("{first}\n{second}");
    assert!(told.contains(&damaged.to_string()) && told.contains(&unknown.to_string()), "{told}");
    assert!(told.contains("v1+prettyjws"), "{told}");
}

#[tokio::test]
async fn a_registry_that_does_not_let_us_read_is_an_error() {
    let server = FakeServer::start(|_| status(403)).await;
    let client = server.plain().build().expect("valid");
    let read = KnownManifests::new().inventory(&listing([Digest::of(b"x")]), &client).await;
    read.expect_err("nothing is known of the image");
}
