//! Source: OCI distribution specification, section "Push".

use futures::{StreamExt as _, stream};
use garden_build_core::Digest;
use garden_registry::{BlobSource, BlobStream, Descriptor, Resolution, Sent, Uploaded};

use super::on_every_registry;
use crate::images::{Image, OCI_INDEX, index, noise};
use crate::registry::Registry;

const OCTETS: &str = "application/octet-stream";

on_every_registry! {
    blobs_of_all_sizes_arrive,
    what_is_there_is_not_sent_again,
    a_blob_of_another_repository_is_mounted_without_sending_it,
    what_cannot_be_mounted_is_sent,
    content_that_is_not_what_was_announced_leaves_nothing,
    a_manifest_comes_after_all_that_it_names,
    a_tag_can_be_moved,
}

async fn blobs_of_all_sizes_arrive(registry: &Registry) {
    let client = registry.client();
    for size in [0, 1, 70_000, 20 << 20] {
        let content = noise("blob", size);
        let blob = Descriptor::of(OCTETS, &content);
        let sent = client.upload_blob("team/api", &blob, None, &content, &Sent::untold()).await;
        assert_eq!(sent.expect("sent"), Uploaded::Sent, "{size} bytes");
        let read = client.blob("team/api", &blob).expect("valid").bytes(1 << 30).await.expect("read");
        assert!(read == content, "{size} bytes");
    }
}

async fn what_is_there_is_not_sent_again(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("twice", &[1_000, 2_000]);
    let first = image.try_push(&client, &registry.image("team/api", "v1")).await.expect("pushed");
    assert_eq!(first, [Uploaded::Sent; 3]);
    let again = image.try_push(&client, &registry.image("team/api", "v2")).await.expect("pushed");
    assert_eq!(again, [Uploaded::Existed; 3]);
}

async fn a_blob_of_another_repository_is_mounted_without_sending_it(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("mounted", &[50_000]);
    image.push(&client, &registry.image("team/from", "v1")).await;
    for (descriptor, content) in &image.blobs {
        // A source that fails when it is read: nothing may be sent.
        let (from, sent) = (Some("team/from"), Sent::untold());
        let mounted = client.upload_blob("other/to", descriptor, from, &Unreadable, &sent).await;
        assert_eq!(mounted.expect("mounted"), Uploaded::Mounted);
        let blob = client.blob("other/to", descriptor).expect("valid");
        assert_eq!(blob.bytes(1 << 20).await.expect("read"), content);
    }
    client.push_manifest(&registry.image("other/to", "v1"), &image.manifest).await.expect("complete");
}

async fn what_cannot_be_mounted_is_sent(registry: &Registry) {
    let client = registry.client();
    for from in ["team/api", "team/absent"] {
        let content = noise(from, 30_000);
        let blob = Descriptor::of(OCTETS, &content);
        let sent = client.upload_blob("other/to", &blob, Some(from), &content, &Sent::untold()).await;
        assert_eq!(sent.expect("sent"), Uploaded::Sent, "from {from}");
        assert_eq!(
            client.blob("other/to", &blob).expect("valid").bytes(1 << 20).await.expect("read"),
            content
        );
    }
}

async fn content_that_is_not_what_was_announced_leaves_nothing(registry: &Registry) {
    let client = registry.client();
    let content = noise("content", 40_000);
    let wrong = Descriptor::new(OCTETS, Digest::of(b"other"), 40_000);
    let long = Descriptor::new(OCTETS, Digest::of(&content), 40_001);
    let short = Descriptor::new(OCTETS, Digest::of(&content), 39_999);
    for blob in [&wrong, &long, &short] {
        let sent = client.upload_blob("team/api", blob, None, &content, &Sent::untold()).await;
        sent.expect_err("other content than was announced");
        assert!(!client.has_blob("team/api", blob.digest).await.expect("an answer"));
    }
}

async fn a_manifest_comes_after_all_that_it_names(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("incomplete", &[1_000]);
    let reference = registry.image("team/api", "v1");
    let error = client.push_manifest(&reference, &image.manifest).await.expect_err("blobs are missing");
    assert!(error.to_string().contains("BLOB_UNKNOWN"), "{error}");
    let parent = index(OCI_INDEX, &[&image.manifest]);
    let error = client.push_manifest(&reference, &parent).await.expect_err("a child is missing");
    assert!(error.to_string().contains("MANIFEST"), "{error}");
    assert_eq!(client.resolve(&reference).await.expect("an answer"), Resolution::Missing);
}

async fn a_tag_can_be_moved(registry: &Registry) {
    let client = registry.client();
    let reference = registry.image("team/api", "latest");
    for name in ["first", "second", "first"] {
        let image = Image::new(name, &[100]);
        image.push(&client, &reference).await;
        assert_eq!(
            client.resolve(&reference).await.expect("an answer").digest(),
            Some(image.manifest.digest())
        );
        let by_digest = registry.image_by_digest("team/api", image.manifest.digest());
        client.push_manifest(&by_digest, &image.manifest).await.expect("pushed again, without a tag");
    }
    assert_eq!(client.tags("team/api").await.expect("an answer"), ["latest"]);
}

/// A blob that nobody should need.
struct Unreadable;

impl BlobSource for Unreadable {
    fn read_from(&self, _: u64) -> BlobStream {
        stream::poll_fn(|_| panic!("the blob is read, as if it had to be sent")).boxed()
    }
}
