//! Without a registry: a local cluster's nodes get the image from the daemon.

use std::path::Path;
use std::process::Command;

use garden_build::config::ProviderKind;
use garden_build::{ErrorKind, Outcome};

use crate::site::docker_daemon::Daemon;
use crate::site::{Project, build_with_events, in_project, shown, variable};

fn without_registry(project: &mut Project) {
    project.provider.kind = ProviderKind::LocalKubernetes;
    project.provider.deployment_registry = None;
}

/// Runs a container on `daemon` that is to the testbed's node what kind's containers are to theirs: it has the node's name, and a
/// `ctr` in it imports into the node's containerd.
fn node_container(daemon: &Daemon) {
    let docker = |arguments: &[&str]| {
        let command = variable("GARDEN_TEST_DOCKER_CLI");
        let socket = format!("unix://{}", daemon.path("socket").display());
        let ran = Command::new(command).args(["--host", &socket]).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let base = variable("GARDEN_TEST_BASE_IMAGE");
    docker(&["pull", &base]);
    let mount = |from: &str, to: &str| format!("--volume={from}:{to}:ro");
    let socket = variable("GARDEN_TEST_CONTAINERD");
    let directory = Path::new(&socket).parent().unwrap().display().to_string();
    // A mount follows no link, and of a file that is not there the daemon would make a directory.
    let ctr = Path::new(&variable("GARDEN_TEST_CONTAINERD_PROGRAMS")).join("ctr").canonicalize().unwrap();
    let arguments = [
        "run",
        "--detach",
        "--network=none",
        &format!("--name={}", variable("GARDEN_TEST_NODE")),
        &format!("--env=CONTAINERD_ADDRESS={socket}"),
        &format!("--volume={directory}:{directory}"),
        &mount(&ctr.display().to_string(), "/bin/ctr"),
        &mount("/lib", "/lib"),
        &mount("/lib64", "/lib64"),
        &base,
        "sleep",
        "600",
    ];
    docker(&arguments);
}

#[tokio::test]
async fn a_node_that_is_a_container_of_the_daemon_is_given_the_image() {
    in_project("docker-node", async |project| {
        without_registry(project);
        project.dockerfile("RUN cat /proc/uptime > /when\nCMD [\"cat\", \"/when\"]\n");
        let daemon = Daemon::start().await;
        node_container(&daemon);
        let builder = project.builder_on(&daemon.client());
        let request = project.request().extra_flag("--network=host");
        let (built, events) = build_with_events(&builder, request.clone()).await;
        let image = built.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert!(image.reference.to_string().starts_with("docker.io/library/api:v-"), "{}", image.reference);
        assert!(
            shown(&events).contains(&format!("to Node {}", variable("GARDEN_TEST_NODE"))),
            "{}",
            shown(&events)
        );
        let when = project.run(&image.reference.to_string(), &[], None).await;

        let again = builder.build(request.clone()).await.unwrap();
        assert_eq!((again.outcome, again.digest), (Outcome::AlreadyExists, image.digest));
        let replaced = builder.build(request.no_cache(true)).await.unwrap();
        assert_ne!(replaced.digest, image.digest);
        assert_ne!(
            project.run(&image.reference.to_string(), &[], None).await,
            when,
            "the node has the new one"
        );
        assert!(
            builder.status(project.request().extra_flag("--network=host")).await.unwrap().existing.is_some()
        );
    })
    .await;
}

#[tokio::test]
async fn nodes_that_the_daemon_cannot_reach_are_named_before_anything_is_built() {
    in_project("docker-no-node", async |project| {
        without_registry(project);
        project.dockerfile("RUN true\n");
        let daemon = Daemon::start().await;
        let builder = project.builder_on(&daemon.client());
        let (built, events) = build_with_events(&builder, project.request()).await;
        let error = built.expect_err("no way to the node");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.message().contains(&variable("GARDEN_TEST_NODE")), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("deploymentRegistry")), "{error}");
        assert!(!shown(&events).contains("RUN true"), "{}", shown(&events));
    })
    .await;
}
