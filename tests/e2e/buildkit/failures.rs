use std::process::Stdio;
use std::time::{Duration, Instant};

use garden_build::{Error, ErrorKind};

use crate::site::buildkit_daemon::Daemon;
use crate::site::own_process::in_own_process;
use crate::site::{
    Project, WITHIN_SECONDS, follow, follow_until, follow_while_it_runs, in_project, shown, variable,
};

async fn failure(project: &Project) -> Error {
    let started = Instant::now();
    let error = project.builder().build(project.request()).await.expect_err("the build must fail");
    eprintln!("{:?} after {:?}: {error:?}", error.kind(), started.elapsed());
    error
}

/// Fails to build, within [`WITHIN_SECONDS`].
async fn failure_at_once(project: &Project) -> Error {
    let started = Instant::now();
    let error = failure(project).await;
    assert!(started.elapsed() < WITHIN_SECONDS, "took {:?}: {error:?}", started.elapsed());
    error
}

fn hint(error: &Error) -> &str {
    error.hint().unwrap_or_else(|| panic!("no hint: {error:?}"))
}

#[tokio::test]
async fn a_failing_step_of_several_lines_is_named_with_all_of_them() {
    in_project("bk-lines", async |project| {
        project.buildkit();
        project.dockerfile("RUN true && \\\n    true && \\\n    exit 3\nRUN true\n");
        let error = failure(project).await;
        assert!(error.message().contains("Dockerfile:2-4"), "{error}");
        assert!(error.failed_step().is_some_and(|step| step.exit_code == Some(3)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_step_that_prints_much_is_told_with_the_end_of_it() {
    in_project("bk-much-output", async |project| {
        project.buildkit();
        project.dockerfile("RUN seq 1 5000; echo the reason; exit 1\n");
        let error = failure(project).await;
        let tail = error.log_tail();
        assert_eq!(tail.last().map(String::as_str), Some("the reason"));
        assert!((5..500).contains(&tail.len()), "{} lines", tail.len());
    })
    .await;
}

#[tokio::test]
async fn a_target_stage_that_does_not_exist_is_named() {
    in_project("bk-no-stage", async |project| {
        project.buildkit();
        project.dockerfile("RUN true\n");
        let request = project.request().target("no-such-stage");
        let error = project.builder().build(request).await.expect_err("no such stage");
        assert_eq!(error.kind(), ErrorKind::BuildFailed, "{error:?}");
        assert!(error.message().contains("no-such-stage"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_file_to_copy_that_an_ignore_file_excludes_is_named_with_that_as_a_hint() {
    in_project("bk-ignored-file", async |project| {
        project.buildkit();
        project.dockerfile("COPY app.txt /\n");
        project.file("app.txt", "x");
        project.file(".dockerignore", "*.txt\n");
        let error = failure(project).await;
        assert!(error.message().contains("app.txt"), "{error}");
        assert!(error.message().contains("Dockerfile:2"), "{error}");
        assert!(hint(&error).contains("ignore"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_base_image_s_registry_where_nobody_listens_is_unreachable() {
    in_project("bk-refused", async |project| {
        project.buildkit();
        let registry = variable("GARDEN_TEST_REGISTRY");
        let host = registry.split(':').next().unwrap();
        project.file("Dockerfile", format!("FROM {host}:1/no/such/base:1\nRUN true\n"));
        let error = failure_at_once(project).await;
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        assert!(error.message().contains(&format!("{host}:1")), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_base_image_s_registry_whose_name_is_unknown_is_unreachable() {
    in_project("bk-no-host", async |project| {
        project.buildkit();
        project.file("Dockerfile", "FROM registry.no-such-host.invalid/base:1\nRUN true\n");
        let error = failure(project).await;
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        assert!(error.message().contains("registry.no-such-host.invalid"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_step_that_is_killed_for_its_memory_is_told_with_the_remedy() {
    in_project("bk-oom", async |project| {
        project.buildkit();
        project.dockerfile("RUN head -c 1000000000 /dev/zero | tail\n");
        project.provider.resources.builder.limits.memory = 160;
        let error = failure(project).await;
        // With version 1 of control groups, nobody but the kernel knows why the step was killed; with version 2,
        // it depends on the node's settings whether the step alone is.
        let killed = error.failed_step().is_some_and(|step| step.exit_code == Some(137));
        assert!(killed || error.kind() == ErrorKind::OutOfMemory, "{error:?}");
        assert!(hint(&error).contains("resources.builder.limits.memory"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_tmpfs_that_exceeds_the_memory_limit_fails_the_build_with_the_remedy() {
    in_project("bk-oom-tmpfs", async |project| {
        project.buildkit();
        project.dockerfile("RUN --mount=type=tmpfs,target=/t cat /dev/zero > /t/zeroes\n");
        project.provider.resources.builder.limits.memory = 160;
        let error = failure(project).await;
        assert!(hint(&error).contains("resources.builder.limits.memory"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_has_too_little_memory_to_start_is_called_out_of_memory() {
    in_project("bk-tiny", async |project| {
        project.buildkit();
        project.dockerfile("RUN true\n");
        project.provider.resources.builder.limits.memory = 12;
        project.provider.resources.builder.requests.memory = 12;
        let error = failure(project).await;
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error:?}");
        assert!(error.message().contains("12Mi"), "{error}");
        assert!(hint(&error).contains("resources.builder.limits.memory"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_changes_after_it_was_scanned_fails_the_build_with_its_name() {
    in_project("bk-changed", async |project| {
        project.buildkit();
        project.dockerfile("COPY app.txt /\n");
        project.file("app.txt", "before");
        let mut build = project.builder().build(project.request());
        // The scan is over, and the daemon is not there yet.
        follow_until(&mut build, "find the BuildKit daemon").await;
        project.file("app.txt", "afterwards");
        let error = build.await.expect_err("the version would be wrong");
        assert_eq!(error.kind(), ErrorKind::Context, "{error:?}");
        assert!(error.message().contains("app.txt"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_removed_after_it_was_scanned_fails_the_build_with_its_name() {
    in_project("bk-removed", async |project| {
        project.buildkit();
        project.dockerfile("COPY . /\n");
        project.file("app.txt", "before");
        let mut build = project.builder().build(project.request());
        follow_until(&mut build, "find the BuildKit daemon").await;
        std::fs::remove_file(project.path().join("app.txt")).unwrap();
        let error = build.await.expect_err("the version would be wrong");
        assert_eq!(error.kind(), ErrorKind::Context, "{error:?}");
        assert!(error.message().contains("app.txt"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn dropping_stops_the_build_in_the_daemon() {
    in_project("bk-drop", async |project| {
        project.buildkit();
        project.dockerfile("RUN echo begun; sleep 600\n");
        let mut build = project.builder().build(project.request());
        follow_until(&mut build, "   begun").await;
        let daemon = Daemon::of(project).await;
        assert_eq!(daemon.builds().await, 1);
        drop(build);
        daemon.assert_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_build_that_takes_too_long_is_stopped_in_the_daemon() {
    in_project("bk-timeout", async |project| {
        project.buildkit();
        project.dockerfile("RUN true\n");
        project.builder().build(project.request()).await.unwrap();
        let daemon = Daemon::of(project).await;

        project.dockerfile("RUN echo begun; sleep 600\n");
        let mut limit = Duration::from_secs(5);
        // On a busy machine, the step begins later.
        let (started, build) = loop {
            let started = Instant::now();
            let mut build = project.builder().build(project.request().timeout(limit));
            if follow_while_it_runs(&mut build, "   begun").await {
                break (started, build);
            }
            limit *= 2;
        };
        assert_eq!(daemon.builds().await, 1);
        let error = build.await.expect_err("too long");
        let took = started.elapsed();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(error.message().contains(&format!("{} s", limit.as_secs())), "{error}");
        assert!((limit..limit + WITHIN_SECONDS).contains(&took), "took {took:?}");
        daemon.assert_idle().await;
    })
    .await;
}

#[tokio::test]
async fn the_time_limit_counts_while_the_daemon_starts() {
    in_project("bk-timeout-start", async |project| {
        project.buildkit();
        project.dockerfile("RUN true\n");
        // No daemon starts that soon.
        let limit = Duration::from_millis(300);
        let started = Instant::now();
        let error = project.builder().build(project.request().timeout(limit)).await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(started.elapsed() < limit + WITHIN_SECONDS, "took {:?}", started.elapsed());
    })
    .await;
}

/// In the process that is going to be killed, names the namespace to build in.
const VICTIM: &str = "GARDEN_TEST_BUILDKIT_VICTIM_NAMESPACE";

#[tokio::test]
async fn the_build_of_a_killed_client_ends_in_the_daemon() {
    if let Ok(namespace) = std::env::var(VICTIM) {
        let mut project = Project::in_namespace(namespace).await;
        project.buildkit();
        project.dockerfile("RUN echo begun; sleep 600\n");
        project.builder().build(project.request()).await.expect_err("killed before it ends");
        return;
    }
    in_project("bk-killed", async |project| {
        project.buildkit();
        project.dockerfile("RUN true\n");
        project.builder().build(project.request()).await.unwrap();
        let daemon = Daemon::of(project).await;
        let mut victim = in_own_process!(the_build_of_a_killed_client_ends_in_the_daemon)
            .env(VICTIM, &project.namespace)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while daemon.builds().await == 0 {
            assert!(started.elapsed() < Duration::from_secs(120), "the victim never began to build");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(daemon.builds().await, 1, "it goes on until the client is killed");
        victim.kill().unwrap();
        victim.wait().unwrap();
        daemon.assert_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_daemon_image_that_cannot_be_pulled_fails_at_once_with_that_cause() {
    in_project("bk-no-image", async |project| {
        let image = format!("{}/no/such/daemon:1", variable("GARDEN_TEST_REGISTRY"));
        project.buildkit().image = Some(image);
        project.dockerfile("RUN true\n");
        let error = failure_at_once(project).await;
        assert_eq!(error.kind(), ErrorKind::ImagePull);
        assert!(error.message().contains("no/such/daemon:1"), "{error}");
        assert!(!hint(&error).is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_fits_on_no_node_fails_at_once_with_that_cause() {
    in_project("bk-unschedulable", async |project| {
        project.buildkit().node_selector.insert("no-such-label".to_owned(), "true".to_owned());
        project.dockerfile("RUN true\n");
        let error = failure_at_once(project).await;
        assert_eq!(error.kind(), ErrorKind::Unschedulable);
        assert!(error.message().contains("affinity/selector"), "{error}");
        assert!(!hint(&error).is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_quota_that_the_daemon_exceeds_is_named() {
    in_project("bk-quota", async |project| {
        project.limit_memory("small", "1Mi").await;
        project.buildkit();
        project.dockerfile("RUN true\n");
        let error = failure_at_once(project).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
        assert!(error.message().contains("exceeded quota: small"), "{error}");
        assert!(hint(&error).contains("resources.builder"), "{error:?}");
    })
    .await;
}

async fn is_refused_under_pod_security(name: &str, level: &str) {
    in_project(name, async |project| {
        project.enforce_pod_security(Some(level)).await;
        project.buildkit();
        project.dockerfile("RUN true\n");
        let error = failure_at_once(project).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
        assert!(error.message().contains(&format!("violates PodSecurity \"{level}")), "{error}");
        assert!(hint(&error).contains("pod-security.kubernetes.io/enforce: privileged"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_namespace_with_pod_security_baseline_refuses_with_the_remedy() {
    is_refused_under_pod_security("bk-baseline", "baseline").await;
}

#[tokio::test]
async fn a_namespace_with_pod_security_restricted_refuses_with_the_remedy() {
    is_refused_under_pod_security("bk-restricted", "restricted").await;
}

#[tokio::test]
async fn a_failed_build_leaves_the_daemon_to_the_next() {
    in_project("bk-after-failure", async |project| {
        project.buildkit();
        project.dockerfile("RUN exit 1\n");
        failure(project).await;
        let before = Daemon::of(project).await;
        before.assert_idle().await;
        project.dockerfile("RUN true\n");
        let mut build = project.builder().build(project.request());
        let events = follow(&mut build).await;
        build.await.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert_eq!(Daemon::of(project).await.pod.metadata.uid, before.pod.metadata.uid);
    })
    .await;
}
