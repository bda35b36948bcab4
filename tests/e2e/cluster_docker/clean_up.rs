//! Freeing the daemon's room.

use std::time::Duration;

use garden_build::docker::KeptName;
use garden_build::{BuildRequest, CleanUpOptions};

use super::{ask, daemon_pod, in_project_with_daemon, options};
use crate::site::installing::init;
use crate::site::registry::delete;
use crate::site::{Project, variable};

/// Nothing is young.
fn all() -> CleanUpOptions {
    CleanUpOptions::new().keep_younger_than(Duration::ZERO).caches_older_than(Duration::ZERO)
}

/// Two megabytes that no other image has.
fn with_layer(project: &Project, name: &str) -> BuildRequest {
    project.dockerfile(&format!("RUN head -c 2000000 /dev/urandom > /{name}\n"));
    BuildRequest::new(name, project.path())
}

#[tokio::test]
async fn a_clean_up_removes_images_from_the_daemon_that_the_registry_no_longer_has() {
    in_project_with_daemon("cd-clean", async |project| {
        init(&project.builder()).await.unwrap();
        for buildkit in [false, true] {
            options(project).enable_buildkit = buildkit;
            let builder = project.builder();
            let gone = builder.build(with_layer(project, "gone")).await.unwrap();
            let there = builder.build(with_layer(project, "there")).await.unwrap();
            delete(&gone).await;
            let (gone, there) = (gone.reference, there.reference);

            // What is young stays.
            let report = builder.clean_up_registry(CleanUpOptions::new()).await.unwrap();
            let daemon = report.docker_daemon.expect("cleaned");
            assert_eq!((daemon.untagged.len(), daemon.kept[&gone.to_string()]), (0, KeptName::Young));

            let report = builder.clean_up_registry(all()).await.unwrap();
            let daemon = report.docker_daemon.expect("cleaned");
            println!("{daemon}");
            assert_eq!(daemon.untagged, [gone.to_string()]);
            assert_eq!(daemon.failed, []);
            assert_eq!(daemon.kept[&there.to_string()], KeptName::InRegistry);
            assert!(daemon.freed_bytes() >= 2_000_000, "{daemon}");
            let pod = daemon_pod(project).await;
            let images = ask(project, &kube::ResourceExt::name_any(&pod), "/images/json").await;
            assert!(!images.contains(&gone.to_string()) && images.contains(&there.to_string()), "{images}");
            // The base image was not made by us.
            assert!(buildkit || images.contains(&variable("GARDEN_TEST_BASE_IMAGE")), "{images}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_clean_up_waits_for_a_running_build_and_keeps_its_image() {
    in_project_with_daemon("cd-busy", async |project| {
        init(&project.builder()).await.unwrap();
        let builder = project.builder();
        project.dockerfile(&format!("RUN echo {} > /one\nRUN sleep 5\nRUN cat /one\n", project.namespace));
        let mut build = builder.build(project.request());
        while let Some(event) = build.next_event().await {
            if event.to_string().contains("sleep 5") {
                break;
            }
        }
        let mut cleaning = builder.clean_up_registry(all()).into_future();
        let image = tokio::select! {
            biased;
            cleaned = &mut cleaning => panic!("it did not wait: {cleaned:?}"),
            image = build.into_future() => image.unwrap(),
        };
        let daemon = cleaning.await.unwrap().docker_daemon.expect("cleaned");
        assert!(!daemon.busy);
        assert!(!daemon.untagged.contains(&image.reference.to_string()), "{daemon}");
    })
    .await;
}
