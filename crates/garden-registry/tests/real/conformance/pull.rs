//! Source: OCI distribution specification, section "Pull".

use futures::TryStreamExt as _;
use garden_build_core::Digest;
use garden_registry::{BlobSource as _, Descriptor, RegistryError, Resolution};

use super::on_every_registry;
use crate::images::{DOCKER_LIST, Image, OCI_INDEX, index, noise};
use crate::registry::Registry;

on_every_registry! {
    an_image_comes_back_byte_for_byte_under_its_tag_and_its_digest,
    an_index_comes_back_in_its_own_form,
    what_does_not_exist_is_missing,
    a_blob_is_read_from_any_place,
}

async fn an_image_comes_back_byte_for_byte_under_its_tag_and_its_digest(registry: &Registry) {
    let client = registry.client();
    for (tag, image) in [("oci", Image::new("oci", &[5_000, 100_000])), ("docker", Image::docker("docker"))] {
        let reference = registry.image("team/api", tag);
        image.push(&client, &reference).await;
        let by_digest = registry.image_by_digest("team/api", image.manifest.digest());
        for reference in [reference, by_digest] {
            let resolution = client.resolve(&reference).await.expect("an answer");
            assert_eq!(resolution, Resolution::Exists(image.manifest.digest()));
            let manifest = client.manifest(&reference).await.expect("an answer");
            assert_eq!(manifest.as_ref(), Some(&image.manifest), "{reference}");
        }
        for (descriptor, content) in &image.blobs {
            assert!(client.has_blob("team/api", descriptor.digest).await.expect("an answer"));
            let blob = client.blob("team/api", descriptor).expect("valid");
            assert_eq!(blob.bytes(1 << 20).await.expect("read"), content);
        }
    }
}

async fn an_index_comes_back_in_its_own_form(registry: &Registry) {
    let client = registry.client();
    let (oci, docker) = (Image::new("oci", &[1_000]), Image::docker("docker"));
    oci.push(&client, &registry.image("team/api", "oci")).await;
    docker.push(&client, &registry.image("team/api", "docker")).await;
    let oci_index = index(OCI_INDEX, &[&oci.manifest, &docker.manifest]);
    let list = index(DOCKER_LIST, &[&docker.manifest]);
    let of_indexes = index(OCI_INDEX, &[&oci_index, &oci.manifest]);
    for (tag, index) in [("index", oci_index), ("list", list), ("of-indexes", of_indexes)] {
        let reference = registry.image("team/api", tag);
        client.push_manifest(&reference, &index).await.expect("pushed");
        assert_eq!(client.resolve(&reference).await.expect("an answer").digest(), Some(index.digest()));
        assert_eq!(client.manifest(&reference).await.expect("an answer"), Some(index));
    }
}

async fn what_does_not_exist_is_missing(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("one", &[10]);
    image.push(&client, &registry.image("team/api", "v1")).await;
    let absent = Digest::of(b"absent");
    for repository in ["team/api", "team/absent"] {
        for reference in [registry.image(repository, "absent"), registry.image_by_digest(repository, absent)]
        {
            assert_eq!(client.resolve(&reference).await.expect("an answer"), Resolution::Missing);
            assert_eq!(client.manifest(&reference).await.expect("an answer"), None);
        }
        assert!(!client.has_blob(repository, absent).await.expect("an answer"));
        let descriptor = Descriptor::new("application/octet-stream", absent, 1);
        let blob = client.blob(repository, &descriptor).expect("valid");
        let error = blob.bytes(1).await.expect_err("missing");
        assert!(matches!(error, RegistryError::Missing { .. }), "{error}");
    }
    // What another repository has is not there for this one.
    let error = client.blob("team/absent", &image.blobs[0].0).expect("valid").bytes(1 << 20).await;
    assert!(matches!(error, Err(RegistryError::Missing { .. })), "{error:?}");
}

async fn a_blob_is_read_from_any_place(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("middle", &[300_000]);
    image.push(&client, &registry.image("team/api", "v1")).await;
    let (descriptor, content) = &image.blobs[1];
    assert_eq!(*content, noise("middle-0", 300_000));
    let blob = client.blob("team/api", descriptor).expect("valid");
    for offset in [0, 1, 150_000, 299_999, 300_000] {
        let read: Vec<_> = blob.read_from(offset).try_collect().await.expect("read");
        assert_eq!(read.concat(), content[usize::try_from(offset).expect("small")..], "from {offset}");
    }
}
