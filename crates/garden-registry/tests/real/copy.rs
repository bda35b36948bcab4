//! Copies between real registries, and within one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use garden_build_core::{Digest, ImageReference};
use garden_registry::{CopyError, CopyEvent, Location, Manifest, RegistryError, Resolution, Uploaded, copy};

use crate::images::{DOCKER_LIST, Image, OCI_INDEX, index};
use crate::process::Program;
use crate::registry::{Guard, Registry, client_at};
use crate::wire::Wire;

/// An index with images for two platforms and an attestation, and what was said about it and about one of its images.
struct Published {
    images: Vec<Image>,
    index: Manifest,
    about: Vec<Image>,
}

impl Published {
    fn new() -> Self {
        let images = [
            Image::new("amd64", &[400_000, 30_000]),
            Image::docker("arm64"),
            Image::new("attestation", &[2_000]),
        ];
        let index = index(OCI_INDEX, &images.each_ref().map(|image| &image.manifest));
        let about = (0..8).map(|number| Image::about(&index, &format!("signature-{number}")));
        let about = about.chain([Image::about(&images[0].manifest, "contents")]).collect();
        Self { images: images.into(), index, about }
    }

    async fn push(&self, registry: &Registry, repository: &str, tag: &str) {
        let client = registry.client();
        for image in &self.images {
            image.push(&client, &registry.image_by_digest(repository, image.manifest.digest())).await;
        }
        client.push_manifest(&registry.image(repository, tag), &self.index).await.expect("pushed");
        for image in &self.about {
            image.push(&client, &registry.image_by_digest(repository, image.manifest.digest())).await;
        }
    }

    /// Checks that a registry has all of it.
    async fn check(&self, registry: &Registry, repository: &str, tag: &str) {
        let client = registry.client();
        let found = client.manifest(&registry.image(repository, tag)).await.expect("an answer");
        assert_eq!(found.as_ref(), Some(&self.index));
        for image in self.images.iter().chain(&self.about) {
            let by_digest = registry.image_by_digest(repository, image.manifest.digest());
            let pulled = crate::images::pull(&client, &by_digest).await.expect("an answer");
            assert!(pulled.as_ref() == Some(image), "{by_digest}");
        }
        for subject in [&self.index, &self.images[0].manifest] {
            let about: BTreeSet<Digest> = self
                .about
                .iter()
                .map(|image| &image.manifest)
                .filter(|manifest| manifest.subject().is_some_and(|said| said.digest == subject.digest()))
                .map(Manifest::digest)
                .collect();
            let listed = client.referrers(repository, subject.digest()).await.expect("an answer");
            assert_eq!(listed.iter().map(|descriptor| descriptor.digest).collect::<BTreeSet<_>>(), about);
        }
    }
}

fn at(registry: &Registry, repository: &str, tag: &str) -> Location {
    Location { registry: registry.client(), image: registry.image(repository, tag) }
}

fn silently() -> Arc<dyn Fn(CopyEvent) + Send + Sync> {
    Arc::new(|_| ())
}

#[tokio::test]
async fn everything_of_an_image_is_copied_between_registries_of_all_kinds() {
    use Guard::{Basic, Open, Tls, Token};
    use Program::{Distribution, DockerRegistry};

    garden_test_programs::needs!(Go, DockerRegistry);
    let published = Published::new();
    for (from, to) in [
        ((DockerRegistry, Open), (Distribution, Token)),
        ((Distribution, Token), (DockerRegistry, Tls)),
        ((DockerRegistry, Tls), (DockerRegistry, Basic)),
        ((Distribution, Basic), (Distribution, Open)),
        ((Distribution, Tls), (DockerRegistry, Token)),
    ] {
        let source = Registry::start(from.0, from.1).await;
        let destination = Registry::start(to.0, to.1).await;
        published.push(&source, "team/api", "v1").await;
        let copied =
            copy(&at(&source, "team/api", "v1"), &at(&destination, "public/api", "1.0"), silently()).await;
        let copied = copied.unwrap_or_else(|error| panic!("from {from:?} to {to:?}: {error}"));
        assert_eq!((copied.digest, copied.existed), (published.index.digest(), false));
        published.check(&destination, "public/api", "1.0").await;

        let again =
            copy(&at(&source, "team/api", "v1"), &at(&destination, "public/api", "1.0"), silently()).await;
        let again = again.expect("copied again");
        assert_eq!((again.existed, again.bytes_sent), (true, 0));
        published.check(&destination, "public/api", "1.0").await;
    }
}

#[tokio::test]
async fn within_a_registry_no_blob_travels() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for (program, guard) in [
        (Program::DockerRegistry, Guard::Open),
        (Program::DockerRegistry, Guard::Token),
        (Program::Distribution, Guard::Basic),
        (Program::Distribution, Guard::Token),
    ] {
        let registry = Registry::start(program, guard).await;
        let image = Image::new("large", &[3 << 20, 2 << 20, 1 << 20]);
        image.push(&registry.client(), &registry.image("team/api", "v1")).await;
        let wire = Wire::start(registry.address(), |_| None).await;
        let client = client_at(wire.address);
        let location = |repository, tag| Location {
            registry: client.clone(),
            image: ImageReference::tagged(&wire.address.to_string(), repository, tag).expect("valid"),
        };
        let copied = copy(&location("team/api", "v1"), &location("public/api", "1.0"), silently()).await;
        let copied = copied.expect("copied");
        assert_eq!((copied.blobs_mounted, copied.blobs_sent, copied.bytes_sent), (4, 0, 0));
        // Some requests with their headers and tokens, and a manifest, of an image of 6 MiB.
        assert!(wire.sent() + wire.received() < 100_000, "{} + {}", wire.sent(), wire.received());
        let pulled = crate::images::pull(&registry.client(), &registry.image("public/api", "1.0")).await;
        assert!(pulled.expect("an answer") == Some(image));
    }
}

#[tokio::test]
async fn a_copy_that_was_given_up_is_taken_up() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for program in [Program::DockerRegistry, Program::Distribution] {
        let source = Registry::start(program, Guard::Open).await;
        let destination = Registry::start(program, Guard::Basic).await;
        let image = Image::new("interrupted", &[100_000; 12]);
        image.push(&source.client(), &source.image("team/api", "v1")).await;
        let (from, to) = (at(&source, "team/api", "v1"), at(&destination, "team/api", "v1"));

        let (arrived, stop) = (Arc::new(Mutex::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (counted, stopping) = (Arc::clone(&arrived), Arc::clone(&stop));
        let report = move |event| {
            if let CopyEvent::Arrived { how: Uploaded::Sent, .. } = event {
                let mut arrived = counted.lock().expect("no panic");
                *arrived += 1;
                if *arrived == 5 {
                    stopping.notify_one();
                }
            }
        };
        tokio::select! {
            copied = copy(&from, &to, Arc::new(report)) => panic!("{copied:?}"),
            () = stop.notified() => {}
        }
        assert_eq!(to.registry.resolve(&to.image).await.expect("an answer"), Resolution::Missing);
        let arrived = *arrived.lock().expect("no panic");
        let copied = copy(&from, &to, silently()).await.expect("copied");
        assert!(copied.blobs_existed >= arrived && copied.blobs_sent <= 13 - arrived, "{copied:?}");
        let pulled = crate::images::pull(&to.registry, &to.image).await.expect("an answer");
        assert!(pulled == Some(image));
    }
}

#[tokio::test]
async fn an_image_that_is_not_complete_is_not_copied() {
    garden_test_programs::needs!(Go, DockerRegistry);
    let source = Registry::start(Program::DockerRegistry, Guard::Open).await;
    let destination = Registry::start(Program::Distribution, Guard::Open).await;
    let (from, to) = (at(&source, "team/api", "v1"), at(&destination, "team/api", "v1"));
    let absent = copy(&from, &to, silently()).await.expect_err("no such image");
    assert!(matches!(absent, CopyError::Source(RegistryError::Missing { .. })), "{absent}");

    let images = [Image::new("kept", &[1_000]), Image::docker("deleted")];
    for image in &images {
        image.push(&from.registry, &source.image_by_digest("team/api", image.manifest.digest())).await;
    }
    let list = index(DOCKER_LIST, &images.each_ref().map(|image| &image.manifest));
    from.registry.push_manifest(&from.image, &list).await.expect("pushed");
    let deleted = images[1].manifest.digest();
    source.lose_manifest("team/api", deleted);
    let error = copy(&from, &to, silently()).await.expect_err("a child is missing");
    assert!(error.to_string().contains(&deleted.to_string()), "{error}");
    assert_eq!(to.registry.resolve(&to.image).await.expect("an answer"), Resolution::Missing);
}
