//! Building more than once.

use std::collections::BTreeSet;

use garden_build::{BuildRequest, Outcome};

use super::image::files;
use super::{Case, Seen};
use crate::site::{recording_client, registry, steps};

/// A step that makes `file`, another one each time it runs. No other test's run has it in its cache: a daemon that several
/// builds reach at once can keep two records of one step, and later builds take either.
fn unique(case: &Case<'_>, file: &str) -> String {
    format!("RUN : {}; cat /proc/sys/kernel/random/uuid > {file}\n", case.project.namespace)
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
    case.project.dockerfile(&format!("{early}COPY app.txt /\n{late}"));
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
    case.project.dockerfile(&format!("{id}CMD [\"cat\", \"/id\"]\n"));
    // That the tag stands for the digest in the registry is part of each build of a case.
    let first = case.build(case.request()).await;
    let id = files(&first.reference).await.text("id").to_owned();
    let forced = case.build(case.request().force(true)).await;
    assert_eq!(forced.reference, first.reference);
    // Whether the other instruction is a step depends on the builder.
    assert!(steps(&forced).0 >= 1, "built, with the cache: {:?}", forced.outcome);
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
