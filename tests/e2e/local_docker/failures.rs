//! A daemon that is not there, that vanishes, or that may not push.

use std::process::Command;
use std::time::Duration;

use garden_build::docker::DockerDaemon;
use garden_build::{ErrorKind, NamedContext};
use tempfile::TempDir;

use crate::site::docker_daemon::{Daemon, old, shared};
use crate::site::{assert_not_running, build_with_events, in_project, shown, variable, warnings};

#[tokio::test]
async fn a_daemon_that_is_not_there_is_named_in_one_line() {
    in_project("docker-missing", async |project| {
        project.dockerfile("RUN true\n");
        let directory = TempDir::new().unwrap();
        let address = format!("unix://{}/docker.sock", directory.path().display());
        let builder = project.builder_on(&DockerDaemon::at(&address).unwrap());
        let error = builder.build(project.request()).await.expect_err("no daemon");
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        assert!(error.message().contains(&address) && !error.message().contains('\n'), "{error}");
        assert!(error.hint().is_some(), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_dies_during_a_build_is_used_again_when_it_is_back() {
    in_project("docker-killed", async |project| {
        project.dockerfile("RUN echo here > /here; sleep 5\nCMD [\"cat\", \"/here\"]\n");
        let mut daemon = Daemon::start().await;
        let builder = project.builder_on(&daemon.client());
        let mut build = builder.build(project.request().extra_flag("--network=host"));
        let mut events = Vec::new();
        while let Some(event) = build.next_event().await {
            let is_running = event.to_string().contains("=> [2/2] RUN");
            events.push(event);
            if is_running {
                break;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        daemon.kill();
        tokio::time::sleep(Duration::from_secs(2)).await;
        daemon.start_again().await;
        while let Some(event) = build.next_event().await {
            events.push(event);
        }
        let image = build.await.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert!(
            warnings(&events).iter().any(|warning| warning.contains("building again")),
            "{}",
            shown(&events)
        );
        assert_eq!(project.run(&image.reference.at(image.digest), &[], None).await, "here\n");
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_the_daemon_does_not_trust_is_named_with_what_to_do() {
    in_project("docker-untrusted", async |project| {
        project.use_registry(&variable("GARDEN_TEST_REGISTRY_TLS"));
        project.registry().ca_certificate = Some(variable("GARDEN_TEST_REGISTRY_TLS_CA").into());
        project.dockerfile("RUN true\n");
        let daemon = Daemon::start().await;
        let builder = project.builder_on(&daemon.client());
        let request = project.request().extra_flag("--network=host");
        let error = builder.build(request).await.expect_err("an unknown authority");
        assert_eq!(error.kind(), ErrorKind::PushFailed, "{error:?}");
        assert!(error.message().contains(&variable("GARDEN_TEST_REGISTRY_TLS")), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("/etc/docker/certs.d")), "{error}");
    })
    .await;
}

#[tokio::test]
async fn named_contexts_are_refused_on_a_daemon_that_would_ignore_them() {
    in_project("docker-contexts", async |project| {
        project.dockerfile("COPY --from=lib /a.txt /\n");
        let lib = TempDir::new().unwrap();
        std::fs::write(lib.path().join("a.txt"), "a\n").unwrap();
        let builder = project.builder_on(&old());
        let request = project.request().context("lib", NamedContext::Directory(lib.path().to_owned()));
        let error = builder.build(request).await.expect_err("unknown to it");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.message().contains("contexts"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_build_stops_in_the_daemon() {
    in_project("docker-cancel", async |project| {
        project.dockerfile(&format!("RUN {}\n", project.long_sleep()));
        for daemon in [shared(), shared().without_buildkit()] {
            let builder = project.builder_on(&daemon);
            let mut build = builder.build(project.request());
            while let Some(event) = build.next_event().await {
                if event.to_string().contains("=> [2/2] RUN") {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let error = build.cancel().await.expect_err("cancelled");
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert_not_running(&project.long_sleep(), Duration::from_secs(15)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_dockerfile_is_explained_by_both_builders() {
    in_project("docker-wrong", async |project| {
        for daemon in [shared(), shared().without_buildkit()] {
            let builder = project.builder_on(&daemon);
            for (instructions, told) in [
                ("COPY missing.txt /\n", "missing.txt"),
                ("RUN exit 42\n", "exit code 42"),
                ("NONSENSE here\n", "unknown instruction: NONSENSE"),
            ] {
                project.dockerfile(instructions);
                let (built, events) = build_with_events(&builder, project.request()).await;
                let error = built.expect_err("wrong");
                assert_eq!(error.kind(), ErrorKind::BuildFailed, "{error:?}");
                assert!(error.message().contains(told), "{error}\n{}", shown(&events));
            }
        }
    })
    .await;
}

/// A small disk of a test's own, in memory.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=48m", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(directory.path()).status();
        assert!(mounted.unwrap().success(), "a mount");
        Self(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as a daemon that is about to end may use it still.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_by_both_builders_with_what_to_do() {
    in_project("docker-full", async |project| {
        project.dockerfile("COPY large /large\nRUN true\n");
        project.file("large", vec![7; 40 << 20]);
        let disk = SmallDisk::new();
        let root = format!("--data-root={}", disk.0.path().display());
        let daemon =
            Daemon::start_with(&variable("GARDEN_TEST_DOCKERD"), TempDir::new().unwrap(), &[&root]).await;
        for client in [daemon.client(), daemon.client().without_buildkit()] {
            let builder = project.builder_on(&client);
            let error =
                builder.build(project.request().extra_flag("--network=host")).await.expect_err("no room");
            assert!(error.message().contains("no space left on device"), "{error:?}");
            assert!(error.hint().is_some_and(|hint| hint.contains("docker system prune")), "{error:?}");
        }
    })
    .await;
}
