//! What only some modes can do. The others refuse it before anything happens.

use std::fs;

use garden_build::{Digest, NamedContext, Outcome};

use super::image::files;
use super::ssh_agent::{Agent, NO_IDENTITIES, asking_program};
use super::{Case, Seen};
use crate::site::{registry, shown, variable};

pub(super) async fn several_platforms(case: &mut Case<'_>) -> Seen {
    case.project.file("Dockerfile", "FROM scratch\nCOPY . /context\n");
    let request = case.request().platform("linux/amd64").platform("linux/arm64");
    if !case.mode.builds_for_several_platforms() {
        return case.refuse(request).await;
    }
    let image = case.build(request.clone()).await;
    let reference = &image.reference;
    let index = registry::manifest(reference.registry(), reference.repository(), reference.tag().unwrap());
    let index = index.await.unwrap();
    let media_types = [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ];
    assert!(media_types.contains(&index.media_type.as_str()), "{}", index.media_type);
    let images = index.json["manifests"].as_array().unwrap().iter();
    let platforms: Vec<&str> =
        images.map(|image| image["platform"]["architecture"].as_str().unwrap()).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    assert_eq!(case.builder().build(request).await.unwrap().outcome, Outcome::AlreadyExists);
    Seen::Works
}

pub(super) async fn named_contexts(case: &mut Case<'_>) -> Seen {
    let library = tempfile::TempDir::new().unwrap();
    let request = case
        .request()
        .context("base", NamedContext::Image(variable("GARDEN_TEST_BASE_IMAGE")))
        .context("lib", NamedContext::Directory(library.path().to_owned()));
    if !case.mode.has_buildkit() {
        return case.refuse(request).await;
    }
    for file in ["lib.txt", "secret.env", "Dockerfile"] {
        fs::write(library.path().join(file), format!("{file} of the library\n")).unwrap();
    }
    fs::write(library.path().join(".dockerignore"), "*.env\n.dockerignore\n").unwrap();
    case.project.file("Dockerfile", "FROM base\nCOPY --from=lib . /lib\n");
    // Counts for the main context only.
    case.project.file(".dockerignore", "lib.txt\n");
    let first = case.build(request.clone()).await;
    let found = files(&first.reference).await;
    assert!(found.contains("bin/busybox"), "it starts with the image");
    assert_eq!(found.names_below("lib"), ["Dockerfile", "lib.txt"]);
    assert_eq!(found.text("lib/lib.txt"), "lib.txt of the library\n");

    fs::write(library.path().join("secret.env"), "changed\n").unwrap();
    let same = case.build(request.clone()).await;
    assert_eq!(same.outcome, Outcome::AlreadyExists, "an ignored file does not count");
    fs::write(library.path().join("lib.txt"), "changed\n").unwrap();
    let changed = case.build(request).await;
    assert_ne!(changed.reference, first.reference);
    assert_eq!(files(&changed.reference).await.text("lib/lib.txt"), "changed\n");
    Seen::Works
}

/// Unlike anything that is printed by chance.
const SECRET: &str = "s3cr3t-0a1b2c3d4e5f\nsecond line";

pub(super) async fn secrets(case: &mut Case<'_>) -> Seen {
    // A daemon that tests share has not run this before.
    let marker = format!("in-a-layer-of-{}", case.project.namespace);
    case.project.dockerfile(&format!(
        "RUN --mount=type=secret,id=token sha256sum < /run/secrets/token; echo {marker} > /marker\n\
         RUN --mount=type=secret,id=token,env=TOKEN test -n \"$TOKEN\"\n\
         RUN test ! -s /run/secrets/token\n",
    ));
    let request = case.request().secret("token", SECRET);
    if !case.mode.has_buildkit() {
        return case.refuse(request).await;
    }
    let plan = case.builder().plan(request.clone()).await.unwrap();
    let (image, events) = case.build_and_watch(request).await;
    let digest = Digest::of(SECRET.as_bytes()).hex();
    assert!(shown(&events).contains(&digest), "the step has the secret:\n{}", shown(&events));

    // The configuration with the history, the layers, and the manifest.
    let contents = registry::contents(&image.reference).await;
    let image: Vec<_> = contents.iter().map(|part| String::from_utf8_lossy(part)).collect();
    let image = image.join("\n");
    assert!(image.contains(&marker), "layers can be searched");
    for (place, text) in [
        ("the image", image),
        ("the cluster", case.mode.traces(case.project, &[]).await),
        ("the events", format!("{events:?}{}", shown(&events))),
        ("the plan", serde_json::to_string(&plan).unwrap()),
    ] {
        for line in SECRET.lines() {
            assert!(!text.contains(line), "the secret is in {place}");
        }
    }
    case.mode.seen_with_secrets()
}

pub(super) async fn ssh_agents(case: &mut Case<'_>) -> Seen {
    let [usual, deploy] = [Agent::start(), Agent::start()];
    let request = case.request().ssh_agent("default", usual.socket()).ssh_agent("deploy", deploy.socket());
    if !case.mode.has_buildkit() {
        let seen = case.refuse(request).await;
        assert_eq!([usual, deploy].map(|agent| agent.asked()), [0, 0]);
        return seen;
    }
    fs::copy(asking_program(), case.project.path().join("ask")).unwrap();
    // A daemon that tests share has not run this before.
    let namespace = &case.project.namespace;
    case.project.dockerfile(&format!(
        "COPY ask /\nENV NAMESPACE={namespace}\nRUN --mount=type=ssh /ask\nRUN --mount=type=ssh,id=deploy /ask\nRUN test -z \"$SSH_AUTH_SOCK\"\n",
    ));
    let (_, events) = case.build_and_watch(request).await;
    assert!(shown(&events).contains(&format!("the agent says {NO_IDENTITIES:?}")), "{}", shown(&events));
    assert_eq!([usual, deploy].map(|agent| agent.asked()), [2, 2], "each step asks the agent that it names");
    case.mode.seen_with_secrets()
}
