//! Builds on a daemon that answers as a test says, in a cluster in this process.

use std::time::Duration;

use garden_build_core::context::Context;
use garden_build_core::{CancellationToken, event_channel};
use garden_build_testing::kubernetes::{End, FakeCluster, FakePod, Process};
use garden_cluster::{Cluster, ClusterError};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::{Instant, sleep};

use super::*;
use crate::cluster::spec::tests::settings;

/// What becomes of a build, or of its push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Push {
    /// The registry cannot be reached from the daemon.
    Unreachable,
    /// The connection breaks, and a little later it shows that the daemon was killed for want of memory.
    Broken,
    /// The connection breaks long before, and the daemon lives on.
    NotBegun,
    /// The answer ends as if all were said, and a little later the same shows.
    Ended,
}

/// The daemon's side of a connection. Source: Docker Engine API.
async fn serve(process: Process, push: Push) -> std::io::Result<End> {
    let Process { pod, stdin, mut stdout, .. } = process;
    let mut input = BufReader::new(stdin);
    loop {
        let (mut head, mut is_chunked) = (String::new(), false);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            if input.read_line(&mut head).await? == 0 {
                return Ok(End::Exit(0));
            }
            is_chunked |= head[begin..].to_ascii_lowercase().starts_with("transfer-encoding: chunked");
        }
        if is_chunked {
            skip_chunks(&mut input).await?;
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (status, body) = if path.contains("/version") {
            let version =
                json!({ "Version": "28.0.0", "ApiVersion": "1.48", "Os": "linux", "Arch": "amd64" });
            ("200 OK", version.to_string())
        } else if path.contains("/build?") {
            let image = format!("sha256:{:064x}", 1);
            ("200 OK", format!("{}\n", json!({ "aux": { "ID": image } })))
        } else if path.contains("/push") {
            if push != Push::Unreachable {
                die_soon(pod.clone());
            }
            let message = "Get \"https://registry.example/v2/\": dial tcp: no such host";
            match push {
                Push::Unreachable => {
                    let failure = json!({ "errorDetail": { "message": message }, "error": message });
                    ("200 OK", format!("{failure}\n"))
                }
                Push::Broken | Push::NotBegun => return Ok(End::Cut),
                Push::Ended => ("200 OK", String::new()),
            }
        } else if push == Push::NotBegun {
            return Ok(End::Cut);
        } else {
            ("404 Not Found", json!({ "message": "no such image" }).to_string())
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stdout.write_all(answer.as_bytes()).await?;
    }
}

async fn skip_chunks(input: &mut BufReader<tokio::io::DuplexStream>) -> std::io::Result<()> {
    loop {
        let mut size = String::new();
        input.read_line(&mut size).await?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        input.read_exact(&mut vec![0; size + 2]).await?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// As a node that is short of memory shows the end of a container.
fn die_soon(pod: FakePod) {
    tokio::spawn(async move {
        sleep(Duration::from_secs(3)).await;
        pod.run_out_of_memory(ClusterDaemon::CONTAINER);
    });
}

/// Builds an image whose push takes this turn. Returns the failure, and after how long it came.
async fn failure(push: Push) -> (Error, Duration) {
    let fake = FakeCluster::new();
    fake.run_deployments();
    fake.on_pod(async |pod| pod.run());
    fake.on_exec(move |mut process| async move {
        if process.command[0] == "docker" {
            return serve(process, push).await.unwrap_or(End::Cut);
        }
        // The lock, which is held until the input ends.
        let _ = process.stdout.write_all(b"held\n").await;
        let _ = process.stdin.read_to_end(&mut Vec::new()).await;
        End::Exit(0)
    });
    let cluster = Cluster::new(fake.client());
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
    let daemon = ClusterDaemon::new(cluster, settings(), credentials.clone());
    let (events, _stream) = event_channel();
    daemon.apply(&events).await.expect("installed");

    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").expect("written");
    let request = BuildRequest::new("api", directory.path());
    let context = Context::scan(&request, &|| false).expect("a context");
    let destination = "registry.example/team/api:v-1".parse().expect("a name");
    let job = BuildJob::new("0123456789", request, context, destination);
    let backend = ClusterDockerBackend::new(daemon, false, credentials);
    let cx = BuildControl::new(events, CancellationToken::new(), Duration::from_secs(3600));
    let started = Instant::now();
    let error = backend.build(&job, &cx).await.expect_err("not pushed");
    (error, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn what_the_daemon_says_of_a_registry_is_told_at_once() {
    let (error, after) = failure(Push::Unreachable).await;
    assert_eq!(error.kind(), ErrorKind::PushFailed, "{error}");
    assert!(error.message().contains("no such host"), "{error}");
    assert!(after < Duration::from_secs(1), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_breaks_off_is_explained_by_the_end_of_the_daemon() {
    for push in [Push::Broken, Push::Ended] {
        let (error, _) = failure(push).await;
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{push:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_whose_connection_breaks_before_it_has_begun_can_begin_again() {
    let (error, _) = failure(Push::NotBegun).await;
    assert_eq!(error.kind(), ErrorKind::BuilderLost, "{error:?}");
    assert!(error.is_retryable() && error.hint() == Some(ADVICE.lost.text()), "{error:?}");
}

#[test]
fn a_base_image_that_the_daemon_cannot_pull_does_not_mean_that_it_has_ended() {
    let unreachable = || Error::new(ErrorKind::Unreachable, "a base image cannot be pulled: no such host");
    assert!(!is_a_break(&unreachable()));
    let broken = DockerError::Broken { address: "d".to_owned(), reason: "reset".to_owned() };
    assert!(is_a_break(&Error::from(broken)));
    let cut = ClusterError::StreamCut { target: "Pod a/b".to_owned(), reason: "reset".to_owned() };
    assert!(is_a_break(&Error::from(cut)));
}
