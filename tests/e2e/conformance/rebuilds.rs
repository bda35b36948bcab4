//! Building more than once.

use std::collections::BTreeSet;
use std::sync::Arc;

use garden_build::{BuildRequest, ImageReference, Outcome};
use garden_registry::{Location, RegistryClient, copy};

use super::image::files;
use super::{Case, Seen};
use crate::site::{recording_client, registry, shown, steps, variable};

/// A step that makes `file`, another one each time it runs. No other test's run has it in its cache: a daemon that several
/// builds reach at once can keep two records of one step, and later builds take either.
fn unique(case: &Case<'_>, file: &str) -> String {
    format!("RUN : {}; cat /proc/sys/kernel/random/uuid > {file}\n", case.project.namespace)
}

/// Writes a Dockerfile on top of a base image that no other test knows.
///
/// A Docker daemon keeps an image of one platform by its name, and its `BuildKit` knows an image that the daemon keeps by another key
/// than one that it does not. What another test pulls of a base that both have, for another platform say, makes the next build
/// miss its cache. Source: moby, `builder/builder-next/adapters/containerimage/pull.go`.
async fn dockerfile(case: &Case<'_>, instructions: &str) {
    let base: ImageReference = variable("GARDEN_TEST_BASE_IMAGE").parse().unwrap();
    let name = format!("{}/base", case.project.namespace);
    let own = ImageReference::tagged(base.registry(), &name, "1").unwrap();
    let registry = RegistryClient::builder(base.registry()).insecure(true).build().unwrap();
    let at = |image: &ImageReference| Location { registry: registry.clone(), image: image.clone() };
    copy(&at(&base), &at(&own), Arc::new(|_| ())).await.unwrap();
    case.project.file("Dockerfile", format!("FROM {own}\n{instructions}"));
}

pub(super) async fn unchanged(case: &mut Case<'_>) -> Seen {
    case.project.file("Dockerfile", "FROM scratch\nCOPY . /\n");
    let first = case.build(case.request()).await;
    assert!(matches!(first.outcome, Outcome::Built { .. }), "{:?}", first.outcome);

    let (client, calls) = recording_client().await;
    let builder = case.builder_with(client);
    let second = builder.build(case.request()).await.unwrap();
    assert_eq!(second.outcome, Outcome::AlreadyExists);
    assert_eq!((second.reference, second.digest), (first.reference, first.digest));
    let calls = calls.lock().unwrap();
    assert!(calls.iter().all(|call| call.starts_with("GET ")), "{calls:?}");
    Seen::Works
}

pub(super) async fn cache(case: &mut Case<'_>) -> Seen {
    let (early, late) = (unique(case, "/early"), unique(case, "/late"));
    dockerfile(case, &format!("{early}COPY app.txt /\n{late}")).await;
    case.project.file("app.txt", "before");
    let first = case.build(case.request()).await;
    // A daemon that tests share has not seen this in an earlier run.
    let changed = format!("afterwards in {}", case.project.namespace);
    case.project.file("app.txt", &changed);
    let second = case.build(case.request()).await;
    assert_ne!(second.reference, first.reference);
    let (cached, run) = steps(&second);
    assert_eq!((cached, run), (1, 2), "of three steps");

    let (first, second) = (files(&first.reference).await, files(&second.reference).await);
    assert_eq!(second.text("app.txt"), changed);
    assert_eq!(first.text("early"), second.text("early"), "not run again");
    assert_ne!(first.text("late"), second.text("late"));
    Seen::Works
}

pub(super) async fn no_cache(case: &mut Case<'_>) -> Seen {
    let id = unique(case, "/id");
    case.project.dockerfile(&id);
    let first = case.build(case.request()).await;
    let first_files = files(&first.reference).await;
    let second = case.build(case.request().no_cache(true)).await;
    assert_eq!(steps(&second), (0, 1));
    assert_eq!(second.reference, first.reference, "the image is replaced");
    assert_ne!(files(&second.reference).await.text("id"), first_files.text("id"));
    Seen::Works
}

pub(super) async fn digest(case: &mut Case<'_>) -> Seen {
    let id = unique(case, "/id");
    dockerfile(case, &format!("{id}CMD [\"cat\", \"/id\"]\n")).await;
    // That the tag stands for the digest in the registry is part of each build of a case.
    let first = case.build(case.request()).await;
    let id = files(&first.reference).await.text("id").to_owned();
    let (forced, events) = case.build_and_watch(case.request().force(true)).await;
    assert_eq!(forced.reference, first.reference);
    // Whether the other instruction is a step depends on the builder.
    assert!(steps(&forced).0 >= 1, "built, with the cache: {:?}\n{}", forced.outcome, shown(&events));
    // The node verifies what it pulls by digest.
    assert_eq!(case.project.run(&forced.reference.at(forced.digest), &[], None).await, id);
    Seen::Works
}

pub(super) async fn parallel(case: &mut Case<'_>) -> Seen {
    case.project.dockerfile("ARG NUMBER\nRUN echo number $NUMBER > /number\n");
    let builder = case.builder();
    let builds = (0..8).map(|number| {
        let request = BuildRequest::new(format!("app-{number}"), case.project.path());
        builder.build(request.build_arg("NUMBER", number.to_string()))
    });
    let images = futures::future::try_join_all(builds).await.unwrap();
    let mut digests = BTreeSet::new();
    for (number, image) in images.iter().enumerate() {
        registry::assert_has(image).await;
        assert_eq!(files(&image.reference).await.text("number"), format!("number {number}\n"));
        digests.insert(image.digest.to_string());
    }
    assert_eq!(digests.len(), 8);
    Seen::Works
}
