//! A build's session, as the daemon sees it: a connection within the messages of a gRPC stream, compressed or not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use garden_build_core::TraceContext;
use garden_build_testing::buildkit::{Built, FakeBuild, FakeBuildkit};
use garden_buildkit::client::file_sync::MemoryFiles;
use garden_buildkit::client::{CONTEXT, Client, DockerfileBuild, Session, Source};

/// A daemon whose builds only fetch the context.
fn daemon() -> FakeBuildkit {
    let daemon = FakeBuildkit::new();
    daemon.on_build(async |build: FakeBuild| {
        build.directory(CONTEXT).await?;
        Ok(Built::nothing())
    });
    daemon
}

/// A session with a context of one file.
fn session(file: Vec<u8>) -> Session {
    let context: Arc<dyn Source> = Arc::new(MemoryFiles::new([("file", file)]));
    let mut session = Session::default();
    session.directories = [(CONTEXT.to_owned(), context)].into();
    session
}

/// How a build went.
struct Sent {
    content: Vec<u8>,
    /// What the client has sent.
    sent: u64,
}

/// Builds with a context of one file, on a daemon that reads compressed messages or does not.
async fn build(file: Vec<u8>, compressing: bool, reads_compressed: bool) -> Sent {
    let daemon = daemon();
    if !reads_compressed {
        daemon.refuse_compression();
    }
    // Two pipes, to count what passes from one to the other.
    let (client, mut near) = tokio::io::duplex(1 << 16);
    let mut far = daemon.connect();
    let link = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });

    let mut client = Client::connect(client).await.expect("a daemon");
    if compressing {
        client = client.compressing();
    }
    client.build(DockerfileBuild::default(), session(file), |_| {}).await.expect("built");
    drop(client);
    let (sent, _) = link.await.expect("no panic").expect("passed on");
    let content = daemon.builds()[0].directories[CONTEXT].content("file").expect("fetched").to_vec();
    Sent { content, sent }
}

const SIZE: usize = 4 << 20;

fn text() -> Vec<u8> {
    b"fn main() { println!(\"hello\") }\n".iter().copied().cycle().take(SIZE).collect()
}

fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(SIZE).collect()
}

#[tokio::test]
async fn what_compresses_is_sent_compressed_to_a_daemon_that_reads_it() {
    let built = build(text(), true, true).await;
    assert!(built.content == text());
    assert!(built.sent < SIZE as u64 / 10, "{}", built.sent);
}

#[tokio::test]
async fn what_does_not_compress_is_sent_as_it_is() {
    let built = build(noise(), true, true).await;
    assert!(built.content == noise());
    assert!((SIZE as u64..SIZE as u64 / 50 * 51).contains(&built.sent), "{}", built.sent);
}

#[tokio::test]
async fn a_daemon_that_cannot_read_compressed_messages_gets_none() {
    let built = build(text(), true, false).await;
    assert!(built.content == text());
    assert!(built.sent > SIZE as u64, "{}", built.sent);
}

#[tokio::test]
async fn nothing_is_compressed_unasked() {
    let built = build(text(), false, true).await;
    assert!(built.content == text());
    assert!(built.sent > SIZE as u64, "{}", built.sent);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_goes_on_reporting_does_not_keep_a_build_from_its_end() {
    let daemon = FakeBuildkit::new();
    daemon.on_build(async |build: FakeBuild| {
        let step = build.step("a");
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                step.log("still here");
            }
        });
        build.directory(CONTEXT).await?;
        Ok(Built::nothing())
    });
    let client = Client::connect(daemon.connect()).await.expect("a daemon");
    let mut reports = 0;
    let building = client.build(DockerfileBuild::default(), session(b"x".to_vec()), |_| reports += 1);
    let built = tokio::time::timeout(Duration::from_secs(3600), building).await;
    assert!(built.expect("it ends").is_ok());
    assert!((2..60).contains(&reports), "the last ones are heard, but not all: {reports}");
}

#[tokio::test]
async fn each_call_of_a_build_carries_the_caller_s_trace_context() {
    let (parent, state) =
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "congo=t61rcWkgMzE,rojo=1");
    let context = TraceContext::new(parent, state).expect("valid");
    let daemon = daemon();
    let client = Client::connect(daemon.connect()).await.expect("a daemon").traced(&context);
    client.build(DockerfileBuild::default(), session(b"x".to_vec()), |_| {}).await.expect("built");
    let calls = daemon.calls().into_iter().filter(|call| call.method != "Info");
    let calls: BTreeSet<_> = calls.map(|call| (call.method, call.traceparent, call.tracestate)).collect();
    let traced = |method| (method, Some(parent.to_owned()), Some(state.to_owned()));
    assert_eq!(calls, BTreeSet::from(["Session", "Solve", "Status"].map(traced)));
}

#[tokio::test]
async fn running_builds_are_counted_by_the_whole_name_of_their_image() {
    let daemon = daemon();
    daemon.add_other_build(["r.example/api:1", "r.example/api:cache"]);
    daemon.add_other_build(["r.example/api:1"]);
    daemon.add_other_build(["r.example/api:10"]);
    daemon.add_other_build([""; 0]);
    let client = Client::connect(daemon.connect()).await.expect("a daemon");
    for (name, expected) in [("r.example/api:1", 2), ("r.example/api:10", 1), ("r.example/api", 0)] {
        assert_eq!(client.running_builds_of(name).await.expect("an answer"), expected, "{name}");
    }
    assert_eq!(client.running_builds().await.expect("an answer").len(), 4);
}
