//! Pushes that need a password, which the cluster's pods do not have.

use std::time::{Duration, Instant};

use garden_build::config::{BuildMode, ClusterDockerOptions};
use garden_build::{Builder, ErrorKind};
use garden_cluster::InClusterRegistry;
use garden_docker::ClusterDaemon;
use garden_registry::clean_up::DeletionList;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use super::{builds_and_runs, in_project_with_registry, registry_of_the_base_image, use_buildkit};
use crate::site::installing::init;
use crate::site::{Project, printed, variable};

const NAMESPACE: &str = "garden-system";

#[tokio::test]
async fn with_a_password_pods_only_pull_and_builds_of_each_mode_push() {
    in_project_with_registry("icr-password", async |project| {
        let without = project.builder();
        project.provider.in_cluster_registry.password_for_pushes = true;
        init(&project.builder()).await.unwrap();
        no_pod_pushes(project).await;
        who_says_nothing_of_a_password_hears_of_it(&without, project).await;

        builds_and_runs(project).await;
        use_buildkit(project);
        builds_and_runs(project).await;
        with_docker(project, async |project| builds_and_runs(project).await).await;

        // Clean-ups go on, and the nodes pull meanwhile.
        use_buildkit(project);
        let registry = project.in_cluster_registry();
        Box::pin(registry.collect_garbage(&DeletionList::default(), &printed())).await.unwrap();

        // Another password.
        let run = registry.server().await.unwrap();
        let secrets: Api<Secret> = Api::namespaced(project.client.clone(), NAMESPACE);
        let login = async || secrets.get(InClusterRegistry::LOGIN).await.unwrap().data;
        let before = login().await;
        init(&project.builder()).await.unwrap();
        assert_eq!(
            (registry.server().await.unwrap(), login().await),
            (run, before.clone()),
            "nothing has changed"
        );
        secrets.delete(InClusterRegistry::LOGIN, &DeleteParams::default()).await.unwrap();
        init(&project.builder()).await.unwrap();
        assert_ne!(login().await, before);
        builds_and_runs(project).await;

        // Who knows nothing of it takes it away from nobody.
        let error = init(&without).await.expect_err("it needs a password");
        assert!(error.hint().is_some_and(|hint| hint.contains(InClusterRegistry::LOGIN)), "{error:?}");
        secrets.delete(InClusterRegistry::LOGIN, &DeleteParams::default()).await.unwrap();
        project.provider.in_cluster_registry.password_for_pushes = false;
        init(&project.builder()).await.unwrap();
        builds_and_runs(project).await;
    })
    .await;
}

/// Tries what an image's upload begins with.
async fn no_pod_pushes(project: &Project) {
    let host = format!("{}.{NAMESPACE}.svc", InClusterRegistry::NAME);
    for (port, refusal) in [(InClusterRegistry::PORT, " 405 "), (InClusterRegistry::PUSH_PORT, " 401 ")] {
        let request = format!(
            "POST /v2/{}/blobs/uploads/ HTTP/1.0\\r\\nHost: {host}:{port}\\r\\nContent-Length: 0\\r\\n\\r\\n",
            project.namespace
        );
        let attack = format!("printf '{request}' | nc {host} {port}");
        let answer = project.run(&variable("GARDEN_TEST_BASE_IMAGE"), &["sh", "-c", &attack], None).await;
        assert!(answer.lines().next().is_some_and(|status| status.contains(refusal)), "{port}: {answer}");
    }
}

async fn who_says_nothing_of_a_password_hears_of_it(without: &Builder, project: &Project) {
    project.dockerfile(&format!("RUN echo {}\n", project.namespace));
    let error = without.build(project.request()).await.expect_err("it needs a password");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("passwordForPushes")), "{error:?}");
}

/// Has Docker's daemon build, beside the registry.
async fn with_docker(project: &mut Project, test: impl AsyncFnOnce(&mut Project)) {
    let mut options = ClusterDockerOptions::default();
    options.image = Some(variable("GARDEN_TEST_DOCKER_IMAGE"));
    options.registries = vec![registry_of_the_base_image()];
    project.provider.build_mode = BuildMode::ClusterDocker(options);
    project.provider.storage.builder = project.make_volume().await;
    init(&project.builder()).await.unwrap();
    test(project).await;

    let gone = DeleteParams::default();
    let deployments: Api<Deployment> = Api::namespaced(project.client.clone(), NAMESPACE);
    deployments.delete(ClusterDaemon::NAME, &gone).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(project.client.clone(), NAMESPACE);
    let its_pods = ListParams::default().labels(&format!("app={}", ClusterDaemon::NAME));
    let started = Instant::now();
    while !pods.list(&its_pods).await.unwrap().items.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(120), "a daemon without builds stops at once");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(project.client.clone(), NAMESPACE);
    claims.delete(ClusterDaemon::CLAIM, &gone).await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(project.client.clone(), NAMESPACE);
    config_maps.delete(ClusterDaemon::NAME, &gone).await.unwrap();
    project.remove_volume().await;
}
