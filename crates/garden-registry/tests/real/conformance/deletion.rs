//! Source: OCI distribution specification, section "Content Management".

use garden_build_core::Digest;
use garden_registry::Resolution;

use super::on_every_registry;
use crate::images::Image;
use crate::registry::Registry;

on_every_registry! {
    an_image_is_deleted_with_its_tags_and_no_other,
    what_is_not_there_need_not_be_deleted,
}

async fn an_image_is_deleted_with_its_tags_and_no_other(registry: &Registry) {
    let client = registry.client();
    let (kept, deleted) = (Image::new("kept", &[10]), Image::new("deleted", &[10]));
    for (tag, image) in [("kept", &kept), ("v1", &deleted), ("v2", &deleted)] {
        image.push(&client, &registry.image("team/api", tag)).await;
    }
    deleted.push(&client, &registry.image("team/web", "v1")).await;
    let digest = deleted.manifest.digest();
    assert!(client.delete_manifest("team/api", digest).await.expect("deleted"));

    for reference in [
        registry.image("team/api", "v1"),
        registry.image("team/api", "v2"),
        registry.image_by_digest("team/api", digest),
    ] {
        assert_eq!(client.resolve(&reference).await.expect("an answer"), Resolution::Missing, "{reference}");
    }
    assert_eq!(client.tags("team/api").await.expect("an answer"), ["kept"]);
    for (repository, tag, image) in [("team/api", "kept", &kept), ("team/web", "v1", &deleted)] {
        let found = client.manifest(&registry.image(repository, tag)).await.expect("an answer");
        assert_eq!(found.as_ref(), Some(&image.manifest));
        for (descriptor, content) in &image.blobs {
            let blob = client.blob(repository, descriptor).expect("valid");
            assert_eq!(blob.bytes(1 << 20).await.expect("read"), content);
        }
    }
    deleted.push(&client, &registry.image("team/api", "v1")).await;
    let mut tags = client.tags("team/api").await.expect("an answer");
    tags.sort();
    assert_eq!(tags, ["kept", "v1"]);
}

async fn what_is_not_there_need_not_be_deleted(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("one", &[10]);
    image.push(&client, &registry.image("team/api", "v1")).await;
    for repository in ["team/api", "team/absent"] {
        assert!(!client.delete_manifest(repository, Digest::of(b"absent")).await.expect("an answer"));
    }
    assert!(client.delete_manifest("team/api", image.manifest.digest()).await.expect("deleted"));
    assert!(!client.delete_manifest("team/api", image.manifest.digest()).await.expect("an answer"));
    assert!(client.tags("team/api").await.expect("an answer").is_empty());
}
