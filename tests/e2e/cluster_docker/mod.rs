//! cluster-docker: the daemon that everyone shares, in a namespace of its own for each test.

mod clean_up;
mod proxies;

use std::time::{Duration, Instant};

use garden_build::config::{BuildMode, ClusterDockerOptions, ProviderKind};
use garden_build::{Builder, ErrorKind, HintCode, Outcome};
use garden_cluster::{Cluster, PodStream};
use garden_docker::ClusterDaemon;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::site::installing::{init, refused};
use crate::site::private_images::with_a_secret_elsewhere;
use crate::site::{
    PATIENCE, Project, build_with_events, client_with_role, in_project, shown, steps, variable, warnings,
};

/// Uses a daemon in the project's own namespace, with a volume that goes with the test.
async fn in_project_with_daemon(name: &str, test: impl AsyncFnOnce(&mut Project)) {
    in_project(name, async |project| {
        with_daemon(project, test).await;
    })
    .await;
}

async fn with_daemon(project: &mut Project, test: impl AsyncFnOnce(&mut Project)) {
    let mut options = ClusterDockerOptions::default();
    options.image = Some(variable("GARDEN_TEST_DOCKER_IMAGE"));
    project.provider.build_mode = BuildMode::ClusterDocker(options);
    project.provider.garden_system_namespace.clone_from(&project.namespace);
    project.provider.storage.builder = project.make_volume().await;
    test(project).await;
    remove_daemon(project).await;
    project.remove_volume().await;
}

async fn remove_daemon(project: &Project) {
    let deployments: Api<Deployment> = Api::namespaced(project.client.clone(), &project.namespace);
    let _not_there = deployments.delete(ClusterDaemon::NAME, &DeleteParams::default()).await;
    let chosen = ListParams::default().labels(&format!("app={}", ClusterDaemon::NAME));
    let started = Instant::now();
    while !project.pods().list(&chosen).await.unwrap().items.is_empty() {
        assert!(started.elapsed() < PATIENCE, "a daemon without builds stops at once");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn options(project: &mut Project) -> &mut ClusterDockerOptions {
    match &mut project.provider.build_mode {
        BuildMode::ClusterDocker(options) => options,
        other => panic!("not cluster-docker: {other:?}"),
    }
}

async fn daemon_pod(project: &Project) -> Pod {
    let chosen = ListParams::default().labels(&format!("app={}", ClusterDaemon::NAME));
    let pods = project.pods().list(&chosen).await.unwrap().items;
    let living = pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none());
    living.expect("the daemon's pod")
}

/// What the daemon answers to a request, over a connection as builds open it.
async fn ask(project: &Project, pod: &str, path: &str) -> String {
    let command = ["docker", "--host", ClusterDaemon::SOCKET, "system", "dial-stdio"];
    let (cluster, namespace) = (Cluster::new(project.client.clone()), &project.namespace);
    let mut stream =
        PodStream::exec(&cluster, namespace, pod, ClusterDaemon::CONTAINER, &command).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Runs a script in the daemon's container, and waits for its end.
async fn in_daemon_pod(project: &Project, script: &str) {
    let (cluster, namespace) = (Cluster::new(project.client.clone()), &project.namespace);
    let pod = daemon_pod(project).await.name_any();
    let command = ["sh", "-c", script];
    let mut stream =
        PodStream::exec(&cluster, namespace, &pod, ClusterDaemon::CONTAINER, &command).await.unwrap();
    stream.read_to_string(&mut String::new()).await.unwrap();
}

#[tokio::test]
async fn installing_again_replaces_the_daemon_only_if_its_configuration_changed() {
    in_project_with_daemon("cd-install", async |project| {
        let installed = init(&project.builder()).await.unwrap();
        assert!(installed.docker_daemon && installed.registry_nodes.is_none(), "{installed:?}");
        let first = daemon_pod(project).await;
        let answer = ask(project, &first.name_any(), "/version").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("ApiVersion"), "{answer}");

        init(&project.builder()).await.unwrap();
        assert_eq!(daemon_pod(project).await.uid(), first.uid(), "nothing has changed");

        project.provider.resources.builder.requests.memory += 1;
        init(&project.builder()).await.unwrap();
        let second = daemon_pod(project).await;
        assert_ne!(second.uid(), first.uid());
        assert!(ask(project, &second.name_any(), "/_ping").await.ends_with("OK"));
    })
    .await;
}

#[tokio::test]
async fn images_are_built_pushed_and_found_again_with_either_builder() {
    in_project_with_daemon("cd-build", async |project| {
        init(&project.builder()).await.unwrap();
        for buildkit in [false, true] {
            options(project).enable_buildkit = buildkit;
            let unique = format!("{buildkit} {:?}", std::time::UNIX_EPOCH.elapsed().unwrap());
            project.dockerfile(&format!(
                "COPY Dockerfile /\nRUN echo '{unique}' > /made\nCMD [\"cat\", \"/made\"]\n"
            ));
            let builder = project.builder();
            let (image, events) = build_with_events(&builder, project.request()).await;
            let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
            assert_eq!(steps(&image).0 + steps(&image).1, 2 + usize::from(!buildkit), "{}", shown(&events));
            assert_eq!(project.run(&image.reference.to_string(), &[], None).await.trim(), unique);
            let again = builder.build(project.request()).await.unwrap();
            assert_eq!((again.outcome, again.digest), (Outcome::AlreadyExists, image.digest));
        }
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_is_replaced_lets_its_builds_end() {
    in_project_with_daemon("cd-drain", async |project| {
        init(&project.builder()).await.unwrap();
        let first = daemon_pod(project).await;
        project.dockerfile("RUN sleep 15\n");
        let mut build = project.builder().build(project.request());
        while let Some(event) = build.next_event().await {
            if event.to_string().contains("sleep 15") {
                break;
            }
        }
        project.provider.resources.builder.requests.memory += 1;
        let builder = project.builder();
        let (image, replaced) = tokio::join!(build, init(&builder));
        let image = image.unwrap();
        assert!(matches!(image.outcome, Outcome::Built { .. }), "it was not begun again: {image:?}");
        replaced.unwrap();
        assert_ne!(daemon_pod(project).await.uid(), first.uid());
    })
    .await;
}

#[tokio::test]
async fn a_build_whose_daemon_is_killed_begins_again_on_the_next() {
    in_project_with_daemon("cd-killed", async |project| {
        init(&project.builder()).await.unwrap();
        project.dockerfile("RUN sleep 10\n");
        let mut build = project.builder().build(project.request());
        let mut events = Vec::new();
        let mut killed = false;
        while let Some(event) = build.next_event().await {
            if !killed && event.to_string().contains("sleep 10") {
                killed = true;
                let at_once = DeleteParams::default().grace_period(0);
                project.pods().delete(&daemon_pod(project).await.name_any(), &at_once).await.unwrap();
            }
            events.push(event);
        }
        build.await.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert!(
            warnings(&events).iter().any(|warning| warning.contains("building again")),
            "{}",
            shown(&events)
        );
    })
    .await;
}

/// Without it, a clean-up could take from the build what its next step needs.
#[tokio::test]
async fn a_build_that_loses_its_lock_begins_again() {
    in_project_with_daemon("cd-lock", async |project| {
        init(&project.builder()).await.unwrap();
        project.dockerfile("RUN sleep 20\n");
        let mut build = project.builder().build(project.request());
        let mut events = Vec::new();
        let mut is_lost = false;
        while let Some(event) = build.next_event().await {
            if !is_lost && event.to_string().contains("sleep 20") {
                is_lost = true;
                in_daemon_pod(project, "kill $(pidof cat)").await;
            }
            events.push(event);
        }
        build.await.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        let said = shown(&events);
        assert!(said.contains("building again") && said.contains("the lock in Pod"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn without_a_daemon_a_build_names_the_remedy_and_a_local_cluster_installs_one() {
    in_project_with_daemon("cd-missing", async |project| {
        project.dockerfile("RUN echo built\n");
        let error = project.builder().build(project.request()).await.expect_err("there is no daemon");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!error.message().contains('\n') && error.message().contains(&project.namespace), "{error}");
        assert!(error.hint_data().is_some_and(|hint| hint.code == HintCode::InstallServices), "{error:?}");

        project.provider.kind = ProviderKind::LocalKubernetes;
        project.builder().build(project.request()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn installing_for_one_project_keeps_the_registries_of_another() {
    in_project_with_daemon("cd-projects", async |project| {
        init(&project.builder()).await.unwrap();
        let mut other = garden_build::config::DeploymentRegistry::new("old.example:5000").unwrap();
        other.insecure = true;
        let first = project.provider.clone();
        options(project).registries = vec![other];
        project.dockerfile("RUN echo built\n");
        let error = project.builder().build(project.request()).await.expect_err("not told of it");
        assert!(error.message().contains("old.example:5000"), "{error}");
        assert!(error.hint_data().is_some_and(|hint| hint.code == HintCode::InstallServices), "{error:?}");
        init(&project.builder()).await.unwrap();
        project.provider = first;
        init(&project.builder()).await.unwrap();
        let config_maps: Api<ConfigMap> = Api::namespaced(project.client.clone(), &project.namespace);
        let live = config_maps.get(ClusterDaemon::NAME).await.unwrap().data.unwrap();
        assert!(live["daemon.json"].contains("old.example:5000"), "{live:?}");
    })
    .await;
}

#[tokio::test]
async fn the_roles_in_the_examples_are_enough_to_install_and_to_build() {
    in_project_with_daemon("cd-roles", async |project| {
        let documents = include_str!("../../../examples/cluster-init-role.yaml");
        let user = client_with_role(project, documents, "garden-docker-user").await;
        let builder = Builder::options(project.provider.clone()).client(user).connect().unwrap();
        let error = init(&builder).await.expect_err("not allowed");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");

        let installer = client_with_role(project, documents, "garden-init").await;
        init(&Builder::options(project.provider.clone()).client(installer).connect().unwrap()).await.unwrap();
        project.dockerfile(&format!("RUN echo {}\n", project.namespace));
        let (image, events) = build_with_events(&builder, project.request()).await;
        image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert_eq!(warnings(&events), <[&str; 0]>::default());
    })
    .await;
}

#[tokio::test]
async fn a_private_image_is_pulled_with_a_secret_of_another_namespace() {
    with_a_secret_elsewhere("cd-private", async |owner, project| {
        with_daemon(project, async |project| {
            let private = project.private_copy_of(&variable("GARDEN_TEST_DOCKER_IMAGE"), "docker:28-dind");
            options(project).image = Some(private);
            let documents = include_str!("../../../examples/cluster-init-role.yaml");
            let installer = client_with_role(project, documents, "garden-init").await;
            owner.share_secret_with(project, "garden-init").await;
            init(&Builder::options(project.provider.clone()).client(installer).connect().unwrap())
                .await
                .unwrap();
            project.assert_has_copy_of_secret(owner).await;
            project.dockerfile(&format!("RUN echo {}\n", project.namespace));
            project.builder().build(project.request()).await.unwrap();
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_another_program_has_installed_is_left_alone() {
    in_project_with_daemon("cd-foreign", async |project| {
        let deployments: Api<Deployment> = Api::namespaced(project.client.clone(), &project.namespace);
        let foreign = json!({
            "metadata": { "name": ClusterDaemon::NAME, "labels": { "app.kubernetes.io/managed-by": "Helm" } },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": { "a": "b" } },
                "template": {
                    "metadata": { "labels": { "a": "b" } },
                    "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
                },
            },
        });
        deployments.create(&PostParams::default(), &serde_json::from_value(foreign).unwrap()).await.unwrap();
        let error = refused(project).await;
        assert!(error.message().contains("another program"), "{error}");
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(project.client.clone(), &project.namespace);
        assert_eq!(claims.list(&ListParams::default()).await.unwrap().items, []);
    })
    .await;
}

#[tokio::test]
async fn a_node_selector_that_no_node_has_is_named() {
    in_project_with_daemon("cd-node", async |project| {
        project.provider.system_node_selector.insert("no-such".to_owned(), "node".to_owned());
        let error = refused(project).await;
        assert_eq!(error.kind(), ErrorKind::Unschedulable);
        assert!(error.hint().is_some_and(|hint| hint.contains("systemNodeSelector")), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_storage_class_that_does_not_exist_is_named_with_its_option() {
    in_project_with_daemon("cd-class", async |project| {
        project.provider.storage.builder.storage_class = Some("no-such-class".to_owned());
        let error = refused(project).await;
        assert!(error.message().contains("no-such-class"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("storage.builder.storageClass")), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_allows_no_privileged_pod_is_named() {
    in_project_with_daemon("cd-privileged", async |project| {
        project.enforce_pod_security(Some("baseline")).await;
        let error = refused(project).await;
        // What removes the volume is privileged, too.
        project.enforce_pod_security(None).await;
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains("privileged"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("enforce: privileged")), "{error:?}");
    })
    .await;
}
