//! What happens when a part of the service, or of the way to it, is lost or is not as it should be.

use std::time::{Duration, Instant};

use garden_build::{Builder, Error, ErrorKind};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::site::{Project, WITHIN_SECONDS, build_with_events, in_project, noise, shown, variable, warnings};

const SERVICE: &str = "app=garden-util";

async fn failure(project: &Project) -> Error {
    project.builder().build(project.request()).await.expect_err("the build must fail")
}

pub(crate) fn deployments(project: &Project) -> Api<Deployment> {
    Api::namespaced(project.client.clone(), &project.namespace)
}

pub(crate) async fn service_pod(project: &Project) -> Pod {
    let pods = project.pods().list(&ListParams::default().labels(SERVICE)).await.unwrap();
    let living = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    pods.items.into_iter().find(living).expect("the service has a pod")
}

/// Runs a shell command in the service's pod, and returns what it prints.
pub(crate) async fn in_service(project: &Project, command: &str) -> String {
    let pod = service_pod(project).await.name_any();
    let parameters = AttachParams::default().stderr(false);
    let mut running = project.pods().exec(&pod, ["/busybox/sh", "-c", command], &parameters).await.unwrap();
    let mut said = Vec::new();
    running.stdout().unwrap().read_to_end(&mut said).await.unwrap();
    // Parts of contexts may be among it.
    String::from_utf8_lossy(&said).into_owned()
}

/// Nothing of any build is left in the service but packs.
pub(crate) async fn assert_idle(project: &Project) {
    let started = Instant::now();
    loop {
        let found = "cd /garden; ls -A run/announced run/claimed run/sessions run/uses | grep -v ':$' | grep .; \
                     ls -A packs/v1 | grep '^[.]'";
        let left = in_service(project, found).await;
        if left.is_empty() {
            return;
        }
        assert!(started.elapsed() < WITHIN_SECONDS, "left in the service: {left}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_image_without_a_shell_is_named_within_seconds_with_the_remedy() {
    in_project("sync-slim", async |project| {
        project.dockerfile("RUN true");
        project.kaniko().image = variable("GARDEN_TEST_KANIKO_IMAGE");
        let started = Instant::now();
        let error = failure(project).await;
        assert!(started.elapsed() < WITHIN_SECONDS, "took {:?}", started.elapsed());
        assert_eq!(error.kind(), ErrorKind::BuilderStart, "{error}");
        assert!(error.message().contains("/busybox/sh"), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("-debug") && hint.contains("contextDelivery: stdin"), "{hint}");
        // With an image that has one, the next build puts it right. While the pod is replaced, the list of pods may be older than the
        // Deployment's status: then the former pod is judged once more.
        project.kaniko().image = variable("GARDEN_TEST_KANIKO_DEBUG_IMAGE");
        if let Err(error) = project.builder().build(project.request()).await {
            assert_eq!(error.kind(), ErrorKind::BuilderStart, "{error}");
            project.builder().build(project.request()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_deployment_of_garden_s_own_is_left_alone_and_named() {
    in_project("sync-foreign", async |project| {
        project.dockerfile("RUN true");
        let labels = json!({ "app": "garden-util" });
        let foreign = json!({
            "metadata": { "name": "garden-util" },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "util", "image": "registry.example/util:1" }] },
                },
            },
        });
        let foreign = serde_json::from_value(foreign).unwrap();
        let created = deployments(project).create(&PostParams::default(), &foreign).await.unwrap();
        let error = failure(project).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.message().contains("garden-util") && error.message().contains("Garden"), "{error}");
        assert!(error.hint().unwrap().contains("contextDelivery: stdin"));
        let live = deployments(project).get("garden-util").await.unwrap();
        assert_eq!(live.metadata.generation, created.metadata.generation);
        // As the hint says.
        project.kaniko().context_delivery = garden_build::config::ContextDelivery::Stdin;
        project.builder().build(project.request()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn users_with_different_settings_do_not_replace_each_other_s_service() {
    in_project("sync-settings", async |project| {
        project.dockerfile("RUN true");
        project.builder().build(project.request()).await.unwrap();
        let first = service_pod(project).await;
        project.provider.resources.util.limits.memory = 600;
        let (image, events) =
            build_with_events(&project.builder(), project.request().build_arg("A", "1")).await;
        image.unwrap();
        assert_eq!(service_pod(project).await.metadata.uid, first.metadata.uid);
        assert!(shown(&events).contains("installing it again (`init`) would apply"), "{}", shown(&events));

        project.builder().init().await.unwrap();
        let now = service_pod(project).await;
        assert_ne!(now.metadata.uid, first.metadata.uid);
        let (image, events) =
            build_with_events(&project.builder(), project.request().build_arg("A", "2")).await;
        image.unwrap();
        assert!(!shown(&events).contains("installing it again (`init`) would apply"), "{}", shown(&events));
    })
    .await;
}

#[tokio::test]
async fn a_service_that_is_gone_between_builds_costs_only_another_upload() {
    in_project("sync-lost", async |project| {
        project.dockerfile("COPY . /app");
        project.file("big", noise(3 << 20));
        project.builder().build(project.request()).await.unwrap();
        project.file("small", "1");
        let pod = service_pod(project).await.name_any();
        project.pods().delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
        project.builder().build(project.request()).await.unwrap();
        project.file("small", "2");
        deployments(project).delete("garden-util", &DeleteParams::foreground()).await.unwrap();
        project.builder().build(project.request()).await.unwrap();
        assert_idle(project).await;
    })
    .await;
}

#[tokio::test]
async fn a_build_starts_again_when_the_service_is_killed_during_a_transfer() {
    in_project("sync-dies", async |project| {
        project.dockerfile("COPY . /app");
        for (round, delay) in [200, 600, 1000, 1500].into_iter().enumerate() {
            project.file("big", noise(40 << 20));
            project.file("round", round.to_string());
            project.builder().init().await.unwrap();
            let pod = service_pod(project).await.name_any();
            let builder = project.builder();
            let building = build_with_events(&builder, project.request());
            let killing = async {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                project.pods().delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
            };
            let ((image, events), ()) = tokio::join!(building, killing);
            image.unwrap_or_else(|error| panic!("killed after {delay} ms: {error:?}\n{}", shown(&events)));
            println!("killed after {delay} ms: {:?}", warnings(&events));
            project.assert_nothing_left().await;
        }
        assert_idle(project).await;
    })
    .await;
}

#[tokio::test]
async fn the_service_tells_a_foreign_pod_nothing() {
    in_project("sync-foreign-pod", async |project| {
        project.dockerfile("COPY . /app\nRUN sleep 20");
        project.file("secret", "the contents");
        let build = project.builder().build(project.request());
        project.builder_pod(crate::site::running).await;
        let address = service_pod(project).await.status.unwrap().pod_ip.unwrap();
        let names = [
            "pull",
            "pull 0123456789012345678901234567890123456789012345678901234567890123",
            "inventory",
            "GET / HTTP/1.0",
        ];
        let asked = names.map(|name| format!("echo '{name}' | nc {address} 4120; "));
        let command = format!("{} echo done", asked.concat());
        let said = project.run(&variable("GARDEN_TEST_BASE_IMAGE"), &["sh", "-c", &command], None).await;
        assert_eq!(said, "done\n");
        build.cancel().await.expect_err("cancelled");
        project.assert_nothing_left().await;
    })
    .await;
}

#[tokio::test]
async fn the_key_is_in_the_build_s_secret_and_nowhere_else() {
    in_project("sync-key", async |project| {
        project.dockerfile("RUN sleep 20");
        let build = project.builder().build(project.request());
        let pod = project.builder_pod(crate::site::running).await;
        let id = pod.labels()["garden-build/build"].clone();
        let secret = project.secrets().get(&format!("garden-docker-auth-{id}")).await.unwrap();
        let key = String::from_utf8(secret.data.unwrap()["context-key"].0.clone()).unwrap();
        let key = key.trim();
        assert_eq!(key.len(), 64);
        let pods = serde_json::to_string(&project.pods().list(&ListParams::default()).await.unwrap().items).unwrap();
        let logs = project.pods().logs(&pod.name_any(), &kube::api::LogParams::default()).await.unwrap();
        let service = in_service(project, "cat /garden/run/*/* /garden/run/sessions/*/* < /dev/null 2> /dev/null & sleep 1; kill $!; ls -R /garden").await;
        for text in [&pods, &logs, &service] {
            assert!(!text.contains(key));
        }
        build.cancel().await.expect_err("cancelled");
    })
    .await;
}

#[tokio::test]
async fn the_service_runs_under_pod_security_restricted() {
    in_project("sync-restricted", async |project| {
        // Builders need `baseline`, so the service is made where nothing else can be.
        project.enforce_pod_security(Some("restricted")).await;
        project.builder().init().await.unwrap();
        assert!(in_service(project, "id").await.starts_with("uid=65532"));
    })
    .await;
}

#[tokio::test]
async fn a_volume_outlives_the_service() {
    in_project("sync-volume", async |project| {
        project.dockerfile("COPY . /app");
        project.file("big", noise(3 << 20));
        let mut storage = garden_build::config::PersistentStorage::default();
        storage.size = 200;
        project.provider.storage.sync = Some(storage);
        project.builder().build(project.request()).await.unwrap();
        let pod = service_pod(project).await.name_any();
        project.pods().delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
        project.file("small", "1");
        let sent = super::building::sent_bytes(project).await;
        assert!(sent < 10_000, "{sent}");
    })
    .await;
}

#[tokio::test]
async fn a_user_with_the_role_of_the_examples_makes_the_service() {
    in_project("sync-role", async |project| {
        project.dockerfile("RUN true");
        let client = crate::site::client_with_the_documented_role(project).await;
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        builder.build(project.request()).await.unwrap();
        assert_idle(project).await;
    })
    .await;
}
