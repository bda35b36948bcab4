//! The life of an operation: how a program waits for it, ends it, leaves it and finds it again; and that one image is built once.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::{Build, BuildRequest, Builder, CancellationToken, ErrorKind, EventStream, Result};
use garden_build_testing::Gate;
use garden_build_testing::backend::{BuildEnd, Script, ScriptedBackend};
use garden_build_testing::kubernetes::FakeCluster;
use garden_build_testing::registry::Registry;

/// A builder whose backend builds when it is let.
struct Site {
    gate: Gate,
    backend: ScriptedBackend,
    builder: Builder,
    directory: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        Self::with_most_builds(None).await
    }

    async fn with_most_builds(count: Option<usize>) -> Self {
        let (gate, registry) = (Gate::new(), Registry::start().await);
        let backend = ScriptedBackend::new(&registry);
        backend.otherwise(Script::succeed().step("RUN made up").until(&gate));
        let mut provider = ProviderConfig::kubernetes("demo");
        let mut deployment = DeploymentRegistry::new(&registry.host()).unwrap();
        deployment.insecure = true;
        provider.deployment_registry = Some(deployment);
        let options = Builder::options(provider).client(FakeCluster::new().client());
        let mut options = options.backend(Arc::new(backend.clone()));
        if let Some(count) = count {
            options = options.most_builds(count);
        }
        let directory = tempfile::TempDir::new().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        Self { gate, backend, builder: options.connect().unwrap(), directory }
    }

    /// How many builds the backend has begun, and after how many of them it has cleaned up.
    fn count(&self) -> (usize, usize) {
        let builds = self.backend.builds();
        let stopped = builds.iter().filter(|build| matches!(build.end, BuildEnd::Stopped(_)));
        (builds.len(), stopped.count())
    }

    fn request(&self) -> BuildRequest {
        self.named("api")
    }

    fn named(&self, name: &str) -> BuildRequest {
        BuildRequest::new(name, self.directory.path())
    }

    /// Begins a build, and waits until the backend has begun it too.
    async fn begun(&self) -> Build {
        let mut build = self.builder.build(self.request());
        see(&mut build, "=> RUN made up").await;
        build
    }
}

/// Reads events until one is shown as `wanted`.
async fn see(build: &mut Build, wanted: &str) {
    while let Some(event) = build.next_event().await {
        if event.to_string().contains(wanted) {
            return;
        }
    }
    panic!("the events end before `{wanted}`");
}

async fn shown(events: EventStream) -> Vec<String> {
    events.map(|event| event.to_string()).collect().await
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[tokio::test]
async fn an_operation_is_a_future_and_a_stream_of_its_events() {
    let site = Site::new().await;
    let mut build = site.begun().await;
    tokio::select! {
        biased;
        _ = &mut build => panic!("it may not build yet"),
        () = std::future::ready(()) => {}
    }
    assert!(!build.is_finished());
    site.gate.let_one_go();
    let image = (&mut build).await.unwrap();
    assert_eq!(site.backend.builds()[0].end, BuildEnd::Pushed(image.digest));
    assert!(build.is_finished());
    let rest: Vec<_> = build.map(|event| event.to_string()).collect().await;
    assert!(rest.iter().any(|line| line.ends_with("=> RUN made up: done")), "{rest:?}");
}

#[tokio::test]
async fn handle_and_events_go_ways_of_their_own() {
    let site = Site::new().await;
    let (handle, events) = site.begun().await.split();
    let reading = tokio::spawn(shown(events));
    let outcome = handle.cancel().await;
    assert_eq!(kind(outcome), ErrorKind::Cancelled);
    // What happens during the cancellation is said.
    assert!(reading.await.unwrap().iter().any(|line| line.ends_with("=> remove the scripted builder: done")));
    assert_eq!(site.count(), (1, 1));
}

#[tokio::test]
async fn a_token_a_signal_and_another_task_cancel() {
    let site = Site::new().await;
    let token = CancellationToken::new();
    let by_token = site.begun().await.until(token.clone().cancelled_owned());
    token.cancel();
    assert_eq!(kind(by_token.await), ErrorKind::Cancelled);

    let by_signal = site.begun().await;
    assert_eq!(kind(by_signal.until(std::future::ready("SIGTERM")).await), ErrorKind::Cancelled);

    let by_task = site.begun().await;
    let cancellation = by_task.cancellation();
    tokio::spawn(async move { cancellation.cancel() });
    assert_eq!(kind(by_task.await), ErrorKind::Cancelled);
    assert_eq!(site.count(), (3, 3));

    site.gate.let_one_go();
    site.begun().await.until(std::future::pending::<()>()).await.unwrap();
}

#[tokio::test]
async fn what_was_dropped_has_cleaned_up_once_the_builder_is_settled() {
    let site = Site::new().await;
    drop(site.begun().await);
    site.builder.settled().await;
    assert_eq!(site.count(), (1, 1));

    // What somebody waits for is not waited for.
    let held = site.begun().await;
    site.builder.settled().await;
    let detached = held.detach();
    let mut settled = pin!(site.builder.settled());
    assert!(futures::poll!(&mut settled).is_pending());
    site.gate.let_one_go();
    settled.await;
    assert!(detached.is_finished());
}

#[tokio::test]
async fn a_detached_operation_is_found_again() {
    let site = Site::new().await;
    let detached = site.begun().await.detach();
    drop(detached.attach());
    let (one, other) = (detached.attach(), detached.attach());
    site.gate.let_one_go();
    let (handle, events) = one.split();
    assert_eq!(handle.await.unwrap().digest, other.await.unwrap().digest);
    let from_the_beginning = shown(events).await;
    assert!(from_the_beginning[0].starts_with("#1 => read the build context"), "{from_the_beginning:?}");
    // Even when it has ended.
    let (handle, events) = detached.attach().split();
    assert!(handle.is_finished());
    handle.await.unwrap();
    assert!(shown(events).await.iter().any(|line| line.ends_with("=> RUN made up: done")));
    assert_eq!(site.count(), (1, 0));
}

#[tokio::test]
async fn a_shutdown_ends_everything_and_names_what_does_not_end() {
    let site = Site::new().await;
    let build = site.begun().await;
    site.builder.shutdown(Duration::from_secs(60)).await.unwrap();
    assert_eq!(kind(build.await), ErrorKind::Cancelled);
    assert_eq!(site.count(), (1, 1));
    let mut late = site.builder.clone().build(site.request());
    while late.next_event().await.is_some() {}
    assert!(late.is_finished(), "whoever has read the events to their end may ask for the outcome");
    let error = late.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.message().contains("shut down"), "{error}");

    let deaf = Site::new().await;
    deaf.backend.otherwise(Script::succeed().step("RUN made up").until(&deaf.gate).deaf());
    let build = deaf.begun().await;
    // From here on only the clock is waited for.
    tokio::time::pause();
    let error = deaf.builder.shutdown(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("build api"), "{error}");
    drop(build);
}

#[tokio::test]
async fn what_a_panic_leaves_has_cleaned_up_before_the_panic_goes_on() {
    let site = Site::new().await;
    let work = async {
        let _build = site.begun().await;
        panic!("made up");
    };
    let work = AssertUnwindSafe(site.builder.shutdown_after(Duration::from_secs(60), work));
    let panic: Box<dyn Any + Send> = futures::FutureExt::catch_unwind(work).await.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"made up"));
    assert_eq!(site.count(), (1, 1));

    let site = Site::new().await;
    let work = async {
        site.gate.let_one_go();
        site.begun().await.await
    };
    let built = site.builder.shutdown_after(Duration::from_secs(60), work).await;
    assert_eq!((built.is_ok(), site.count()), (true, (1, 0)));
    assert_eq!(kind(site.builder.build(site.request()).await), ErrorKind::Cancelled, "it is shut down");
}

#[tokio::test]
async fn two_builds_of_one_image_are_one() {
    let site = Site::new().await;
    let first = site.begun().await;
    let mut second = site.builder.build(site.request());
    // The step that is under way is seen by who comes later.
    see(&mut second, "=> RUN made up").await;
    // One that leaves does not take the other's build along.
    drop(first);
    site.builder.settled().await;
    let third = site.builder.clone().build(site.request());
    site.gate.let_one_go();
    let (second, third) = (second.await.unwrap(), third.await.unwrap());
    assert_eq!(second.digest, third.digest);
    assert_eq!(site.count(), (1, 0));
}

#[tokio::test]
async fn a_build_that_nobody_waits_for_any_more_is_cancelled() {
    let site = Site::new().await;
    let (first, mut second) = (site.begun().await, site.builder.build(site.request()));
    see(&mut second, "=> RUN made up").await;
    drop(first);
    let (handle, events) = second.split();
    assert_eq!(kind(handle.cancel().await), ErrorKind::Cancelled);
    assert_eq!(site.count(), (1, 1));
    assert!(shown(events).await.iter().any(|line| line.ends_with("=> remove the scripted builder: done")));
}

#[tokio::test]
async fn each_who_waits_has_a_time_limit_of_its_own() {
    let site = Site::new().await;
    let mut short = site.builder.build(site.request().timeout(Duration::from_secs(1000)));
    let mut long = site.builder.build(site.request().timeout(Duration::from_secs(100_000)));
    for build in [&mut short, &mut long] {
        see(build, "=> RUN made up").await;
    }
    // From here on only the clock is waited for.
    tokio::time::pause();
    assert_eq!(kind(short.await), ErrorKind::Timeout);
    tokio::time::resume();
    assert_eq!(site.count(), (1, 0));
    site.gate.let_one_go();
    long.await.unwrap();
}

#[tokio::test]
async fn other_secrets_make_another_build() {
    let site = Site::new().await;
    let first = site.begun().await;
    let request = site.request().secret("token", "another");
    let mut other = site.builder.build(request);
    see(&mut other, "=> RUN made up").await;
    assert_eq!(site.count().0, 2);
    site.gate.let_one_go();
    site.gate.let_one_go();
    first.await.unwrap();
    other.await.unwrap();
}

#[tokio::test]
async fn builds_wait_for_their_turn() {
    let site = Site::with_most_builds(Some(1)).await;
    let first = site.begun().await;
    let mut others: Vec<_> =
        ["a", "b"].into_iter().map(|name| site.builder.build(site.named(name))).collect();
    for other in &mut others {
        see(other, "wait for a turn to build: at most 1 at a time").await;
    }
    // One that waits can be cancelled.
    let last = others.pop().unwrap();
    assert_eq!(kind(last.cancel().await), ErrorKind::Cancelled);
    site.gate.let_one_go();
    site.gate.let_one_go();
    first.await.unwrap();
    others.pop().unwrap().await.unwrap();
    assert_eq!(site.backend.most_under_way(), 1);
    assert_eq!(site.count(), (2, 0));
}
