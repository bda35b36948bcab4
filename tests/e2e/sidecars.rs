//! What a cluster adds to pods, as service meshes do, by a real webhook: our own container alone decides.

use garden_build::config::BuildMode;
use garden_build::{ErrorKind, Outcome};
use serde_json::{Value, json};

use crate::site::{Project, build_with_events, in_project, shown, variable};

/// A container that does not end, and that a signal does not end either.
fn stubborn() -> Value {
    json!({
        "name": "mesh-proxy",
        "image": variable("GARDEN_TEST_BASE_IMAGE"),
        "command": ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"],
    })
}

/// One that is never ready, besides.
fn never_ready() -> Value {
    let mut sidecar = stubborn();
    sidecar["readinessProbe"] = json!({ "exec": { "command": ["false"] } });
    sidecar
}

/// Builds something that no registry has.
async fn builds(project: &Project, what: &str) {
    project.dockerfile(&format!("RUN echo {} {what}\n", project.namespace));
    let (image, events) = build_with_events(&project.builder(), project.request()).await;
    let image = image.unwrap_or_else(|error| panic!("{what}: {error:?}\n{}", shown(&events)));
    assert!(matches!(image.outcome, Outcome::Built { .. }), "{what}: {image:?}");
}

#[tokio::test]
async fn a_sidecar_that_is_never_ready_and_does_not_end_keeps_no_build_waiting() {
    in_project("sidecar", async |project| {
        project.add_to_pods(&[never_ready()], &[]).await;
        builds(project, "kaniko").await;
        assert!(project.leftovers().await.is_empty());
        project.buildkit();
        builds(project, "BuildKit").await;
        // The pod of the former settings is held for as long as builds may take.
        project.provider.resources.builder.requests.memory += 1;
        builds(project, "BuildKit with other settings").await;
        project.remove_webhook().await;
    })
    .await;
}

#[tokio::test]
async fn an_init_container_that_fails_is_named_and_our_image_is_not_blamed() {
    in_project("init-container", async |project| {
        let failing = json!({
            "name": "mesh-init",
            "image": variable("GARDEN_TEST_BASE_IMAGE"),
            "command": ["sh", "-c", "echo no rules can be set >&2; exit 3"],
        });
        project.add_to_pods(&[], &[failing]).await;
        fails(project).await;
        project.buildkit();
        fails(project).await;
        project.remove_webhook().await;
    })
    .await;
}

async fn fails(project: &Project) {
    let mode = match &project.provider.build_mode {
        BuildMode::Kaniko(_) => "kaniko",
        _ => "BuildKit",
    };
    project.dockerfile(&format!("RUN echo {}\n", project.namespace));
    let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
    let error = outcome.expect_err("no container of the pod starts");
    assert_eq!(error.kind(), ErrorKind::BuilderStart, "{mode}: {error:?}\n{}", shown(&events));
    assert!(error.message().contains("mesh-init"), "{mode}: {error:?}");
    let hint = error.hint().unwrap_or_default();
    assert!(!hint.contains("image"), "{mode}: {error:?}");
}
