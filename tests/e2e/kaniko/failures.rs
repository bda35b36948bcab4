use std::time::Instant;

use garden_build::{Error, ErrorKind, Event};
use kube::api::DeleteParams;
use serde_json::json;

use crate::site::{Project, WITHIN_SECONDS, in_project, running};

async fn failure(project: &Project) -> Error {
    project.builder().build(project.request()).await.expect_err("the build must fail")
}

#[tokio::test]
async fn a_missing_dockerfile_is_found_before_the_cluster_is_asked_for_anything() {
    in_project("no-dockerfile", async |project| {
        project.file("app.txt", "x");
        let error = failure(project).await;
        assert_eq!(error.kind(), ErrorKind::Context);
        assert!(error.message().contains("Dockerfile"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_node_selector_that_matches_nothing_fails_soon_with_that_cause() {
    in_project("unschedulable", async |project| {
        project.dockerfile("RUN true\n");
        project.kaniko().node_selector.insert("no-such-label".to_owned(), "true".to_owned());
        let started = Instant::now();
        let error = failure(project).await;
        assert!(started.elapsed() < WITHIN_SECONDS, "took {:?}", started.elapsed());
        assert_eq!(error.kind(), ErrorKind::Unschedulable);
        assert!(error.message().contains("affinity/selector"), "{error}");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_executor_image_that_cannot_be_pulled_fails_soon_with_that_cause() {
    in_project("no-image", async |project| {
        project.dockerfile("RUN true\n");
        project.kaniko().image = format!("{}/no/such/image:1", crate::site::variable("GARDEN_TEST_REGISTRY"));
        let started = Instant::now();
        let error = failure(project).await;
        assert!(started.elapsed() < WITHIN_SECONDS, "took {:?}", started.elapsed());
        assert_eq!(error.kind(), ErrorKind::ImagePull);
        assert!(error.message().contains("no/such/image:1"), "{error}");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_build_that_needs_too_much_memory_is_called_out_of_memory() {
    in_project("oom", async |project| {
        project.dockerfile("RUN head -c 1000000000 /dev/zero | tail\n");
        project.provider.resources.builder.limits.memory = 96;
        let error = failure(project).await;
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error:?}");
        assert!(error.message().contains("limit: 96Mi"), "{error}");
        assert!(error.hint().unwrap().contains("resources.builder.limits.memory"));
    })
    .await;
}

#[tokio::test]
async fn a_step_may_go_on_when_a_child_of_it_ran_out_of_memory() {
    in_project("oom-child", async |project| {
        project.dockerfile("RUN (head -c 1000000000 /dev/zero | tail) || echo survived\n");
        project.provider.resources.builder.limits.memory = 96;
        project.builder().build(project.request()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_build_starts_again_within_seconds_when_its_pod_is_deleted() {
    in_project("deleted", async |project| {
        project.dockerfile("RUN sleep 600\n");
        let mut build = project.builder().build(project.request());
        let first = project.builder_pod(running).await;
        project
            .pods()
            .delete(first.metadata.name.as_deref().unwrap(), &DeleteParams::default())
            .await
            .unwrap();
        let deleted = Instant::now();
        let warning = loop {
            if let Event::Warning { message, .. } = build.next_event().await.expect("the build goes on") {
                break message;
            }
        };
        assert!(deleted.elapsed() < WITHIN_SECONDS, "took {:?}", deleted.elapsed());
        assert!(warning.contains("deleted") && warning.contains("try 2 of 3"), "{warning}");
        project.builder_pod(|pod| running(pod) && pod.metadata.uid != first.metadata.uid).await;
        build.cancel().await.expect_err("cancelled");
        project.assert_nothing_left().await;
    })
    .await;
}

#[tokio::test]
async fn a_quota_that_is_exceeded_is_named() {
    in_project("quota", async |project| {
        project.limit_memory("small", "1Mi").await;
        project.dockerfile("RUN true\n");
        let error = failure(project).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
        assert!(error.message().contains("exceeded quota: small"), "{error}");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_namespace_with_quotas_of_all_usual_amounts_takes_a_build() {
    in_project("quotas", async |project| {
        let amounts = json!({
            "limits.cpu": "8", "limits.memory": "16Gi", "requests.cpu": "2", "requests.memory": "4Gi", "pods": "5",
            "count/deployments.apps": "1", "secrets": "10",
        });
        project.limit("usual", amounts).await;
        project.dockerfile("RUN true\n");
        project.builder().build(project.request()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_quota_that_allows_no_pod_is_not_cured_by_a_smaller_one() {
    in_project("no-pods", async |project| {
        project.limit("none", json!({ "pods": "0" })).await;
        project.dockerfile("RUN true\n");
        let error = failure(project).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("allows none of this")), "{error}");
    })
    .await;
}
