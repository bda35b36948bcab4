//! Context services that nobody uses, and what of ours takes the room on nodes.

use garden_build::{Builder, ErrorKind};

use crate::site::{
    build_with_events, client_with_the_documented_role, in_project, registry, shown, warnings,
};

const SERVICE: &str = "garden-util";

#[tokio::test]
async fn a_service_that_nobody_used_is_stopped_and_back_by_the_next_build_of_a_user_with_few_rights() {
    in_project("idle-service", async |project| {
        project.dockerfile("RUN true\n");
        let client = client_with_the_documented_role(project).await;
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        builder.build(project.request()).await.unwrap();
        assert!(builder.sweep().await.unwrap().stopped.is_empty(), "it was used just now");
        project.unused_for_years(SERVICE).await;
        builder.sweep().await.unwrap();
        project.until_asleep(SERVICE).await;

        let (image, events) =
            build_with_events(&builder, project.request().build_arg("ANOTHER", "build")).await;
        registry::assert_has(&image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)))).await;
        assert_eq!(warnings(&events), Vec::<&str>::new());
        assert!(project.is_used_again(SERVICE).await);
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_build_stops_on_its_way_what_nobody_uses_in_its_namespace() {
    in_project("idle-beside", async |project| {
        project.dockerfile("RUN sleep 3\n");
        project.builder().build(project.request()).await.unwrap();
        project.unused_for_years(SERVICE).await;
        project.buildkit();
        project.builder().build(project.request().force(true)).await.unwrap();
        project.until_asleep(SERVICE).await;
        // The other way around.
        project.unused_for_years("garden-buildkit").await;
        project.provider.build_mode = garden_build::config::BuildMode::Kaniko(kaniko());
        project.builder().build(project.request().build_arg("ANOTHER", "build")).await.unwrap();
        project.until_asleep("garden-buildkit").await;
    })
    .await;
}

fn kaniko() -> garden_build::config::KanikoOptions {
    let mut kaniko = garden_build::config::KanikoOptions::default();
    kaniko.image = crate::site::variable("GARDEN_TEST_KANIKO_DEBUG_IMAGE");
    kaniko.namespace = garden_build::config::KanikoNamespace::Project;
    kaniko
}

#[tokio::test]
async fn a_builder_without_room_names_what_of_ours_takes_it() {
    in_project("no-room", async |project| {
        project.dockerfile("RUN true\n");
        project.builder().build(project.request()).await.unwrap();
        // More than any node has. A user who may look at all namespaces would be told of whatever other tests run.
        project.provider.resources.builder.requests.cpu = 1_000_000;
        project.provider.resources.builder.limits.cpu = 1_000_000;
        let client = client_with_the_documented_role(project).await;
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        let error = builder.build(project.request().force(true)).await.expect_err("no room");
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::Unschedulable, "{error:?}");
        let namespace = &project.namespace;
        for part in [
            "Insufficient cpu".to_owned(),
            format!("garden-build's own in Namespace {namespace} reserve 0.01 CPU and 32 MiB of memory"),
            format!("Deployment {namespace}/{SERVICE} (0.01 CPU, 32 MiB)"),
            "`sweep`".to_owned(),
        ] {
            assert!(error.message().contains(&part), "{part}: {error}");
        }
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}
