//! What a test harness without a cluster needs, each in a few lines: a build, a refused login, a lost builder, a cancel, and what stands beside them.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use garden_build::config::{DeploymentRegistry, ProviderConfig, SecretRef};
use garden_build::{
    BuildRequest, Builder, BuilderOptions, Caches, Capabilities, ErrorKind, Event, Outcome, WarningCode,
};
use garden_build_testing::Gate;
use garden_build_testing::backend::{BuildEnd, Script, ScriptedBackend};
use garden_build_testing::kubernetes::FakeCluster;
use garden_build_testing::registry::{Fault, Image, Registry};
use tempfile::TempDir;

/// Options of a builder that pushes to the backend's registry.
fn options(backend: &ScriptedBackend, cluster: &FakeCluster) -> BuilderOptions {
    let mut deployment = DeploymentRegistry::new(&backend.registry().host()).unwrap();
    deployment.insecure = true;
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.deployment_registry = Some(deployment);
    provider.image_pull_secrets = cluster.names("secrets").into_iter().map(SecretRef::new).collect();
    let options = Builder::options(provider).client(cluster.client()).caches(Caches::none());
    options.backend(Arc::new(backend.clone()))
}

fn builder(backend: &ScriptedBackend) -> Builder {
    options(backend, &FakeCluster::new()).connect().unwrap()
}

/// A directory with a Dockerfile and a file that it copies, and the request to build it.
fn app() -> (TempDir, BuildRequest) {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY main /\n").unwrap();
    std::fs::write(directory.path().join("main"), "hello\n").unwrap();
    let request = BuildRequest::new("api", directory.path());
    (directory, request)
}

#[tokio::test]
async fn a_build() {
    let backend = ScriptedBackend::new(&Registry::start().await);
    let (_directory, request) = app();
    let image = builder(&backend).build(request.build_arg("RELEASE", "2.1")).await.unwrap();
    assert!(image.confirmed_by_registry && matches!(image.outcome, Outcome::Built { .. }));
    let name = format!("api:{}", image.reference.tag().unwrap());
    assert_eq!(backend.registry().manifest(&name).unwrap().digest(), image.digest);
    let build = &backend.builds()[0];
    assert_eq!((&*build.files, &*build.request.build_args["RELEASE"]), (&["main".to_owned()][..], "2.1"));
}

#[tokio::test]
async fn a_refused_login() {
    let registry = Registry::builder().login("robot", "right").start().await;
    let (backend, cluster) = (ScriptedBackend::new(&registry), FakeCluster::new());
    cluster.put(registry.pull_secret("regcred", "robot", "wrong"));
    let (_directory, request) = app();
    let error = options(&backend, &cluster).connect().unwrap().build(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.message().contains("regcred"), "{error}");
    assert_eq!(backend.builds().len(), 0, "nothing is built that nobody could push");
}

#[tokio::test]
async fn a_lost_builder() {
    let backend = ScriptedBackend::new(&Registry::start().await);
    backend.next(Script::lose_builder());
    let (_directory, request) = app();
    let image = builder(&backend).build(request).await.unwrap();
    let ends: Vec<_> = backend.builds().iter().map(|build| build.end).collect();
    assert_eq!(ends, [BuildEnd::Failed(ErrorKind::BuilderLost), BuildEnd::Pushed(image.digest)]);
}

#[tokio::test]
async fn a_cancel() {
    let (backend, gate) = (ScriptedBackend::new(&Registry::start().await), Gate::new());
    backend.next(Script::succeed().step("RUN sleep infinity").until(&gate));
    let (_directory, request) = app();
    let build = builder(&backend).build(request);
    gate.arrived().await;
    assert_eq!(build.cancel().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(backend.builds()[0].end, BuildEnd::Stopped(ErrorKind::Cancelled));
    assert_eq!(backend.registry().repositories().len(), 0);
}

#[tokio::test]
async fn a_failed_step_with_what_it_printed() {
    let backend = ScriptedBackend::new(&Registry::start().await);
    backend.next(Script::fail_step("RUN make", 2).log("cc main.c").log("main.c:1: error"));
    let (_directory, request) = app();
    let mut build = builder(&backend).build(request);
    let mut said = Vec::new();
    while let Some(event) = build.next_event().await {
        said.push(event.to_string());
    }
    let error = build.await.unwrap_err();
    assert_eq!(error.failed_step().unwrap().exit_code, Some(2));
    assert_eq!(error.log_tail(), ["cc main.c", "main.c:1: error"]);
    assert!(said.iter().any(|line| line.contains("cc main.c")), "{said:?}");
}

#[tokio::test]
async fn whatever_a_backend_may_report() {
    let backend = ScriptedBackend::new(&Registry::start().await);
    let script = Script::succeed().log("of no step").cached_step("FROM scratch");
    backend.next(script.emit(|events| events.warn(WarningCode::Other, "made up", None)));
    let (_directory, request) = app();
    let mut build = builder(&backend).build(request);
    let mut said = Vec::new();
    while let Some(event) = build.next_event().await {
        match event {
            Event::Log { line, .. } => said.push(line),
            Event::Warning { message, .. } => said.push(message),
            _ => {}
        }
    }
    let outcome = build.await.unwrap().outcome;
    assert!(matches!(outcome, Outcome::Built { steps_cached: 1, steps_run: 0, .. }), "{outcome:?}");
    assert!(said.ends_with(&["of no step".to_owned(), "made up".to_owned()]), "{said:?}");
}

#[tokio::test]
async fn a_time_limit_that_nobody_waits_for() {
    let backend = ScriptedBackend::new(&Registry::start().await);
    backend.next(Script::succeed().wait(Duration::from_secs(3600)));
    let (_directory, request) = app();
    let build = builder(&backend).build(request.timeout(Duration::from_secs(600)));
    backend.begun(1).await;
    // From here on only the clock is waited for.
    tokio::time::pause();
    assert_eq!(build.await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_clean_up_that_never_ends() {
    let (backend, gate) = (ScriptedBackend::new(&Registry::start().await), Gate::new());
    backend.next(Script::succeed().until(&gate).never_cleans_up());
    let (_directory, request) = app();
    let builder = builder(&backend);
    let _build = builder.build(request);
    gate.arrived().await;
    tokio::time::pause();
    let error = builder.shutdown(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!((error.kind(), backend.builds()[0].end), (ErrorKind::Timeout, BuildEnd::UnderWay));
}

#[tokio::test]
async fn a_mode_that_cannot_do_what_is_asked_for() {
    let backend = ScriptedBackend::new(&Registry::start().await).named("modest");
    let backend = backend.with_capabilities(Capabilities::default());
    let (_directory, request) = app();
    let error = builder(&backend).build(request.secret("token", "s3cret")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("modest"), "{error}");
}

#[tokio::test]
async fn images_for_several_platforms_are_a_list() {
    let backend = ScriptedBackend::new(&Registry::start().await);
    let (_directory, request) = app();
    let request = request.platform("linux/amd64").platform("linux/arm64").label("team", "api");
    let image = builder(&backend).build(request).await.unwrap();
    let name = format!("api:{}", image.reference.tag().unwrap());
    let list = backend.registry().manifest(&name).unwrap().json();
    assert_eq!(list["manifests"][1]["platform"]["architecture"], "arm64");
    let first = backend.registry().image(&name).unwrap();
    assert_eq!((&first.config()["config"]["Labels"]["team"], first.layers().len()), (&"api".into(), 1));
}

#[tokio::test]
async fn an_image_is_published_to_a_registry_with_tls_and_tokens() {
    let destination =
        Registry::builder().tls().login("robot", "s3cret").tokens().redirect_blobs().start().await;
    let backend = ScriptedBackend::new(&Registry::start().await);
    let (_directory, request) = app();
    let builder = builder(&backend);
    let image = builder.build(request).await.unwrap();
    let config = destination.docker_config("robot", "s3cret");
    let credentials =
        garden_build::registry::Credentials::from_docker_config_json(config.as_bytes(), "test").unwrap();
    destination.fault(Fault::forget_uploads("PATCH", "*"));
    destination.fault(Fault::cut_request_after("PUT", "/v2/team/api/blobs/uploads/*", 0));
    let publish = garden_build::PublishRequest::new(&image, destination.reference("team/api:1"));
    let publish = publish.credentials(credentials).ca_certificates(destination.ca_certificate().unwrap());
    builder.publish(publish).await.unwrap();
    assert_eq!(destination.manifest("team/api:1").unwrap().digest(), image.digest);
}

#[tokio::test]
async fn an_image_that_somebody_else_has_pushed_is_not_built() {
    let backend = ScriptedBackend::new(&Registry::start().await);
    let (_directory, request) = app();
    let builder = builder(&backend);
    let plan = builder.plan(request.clone()).await.unwrap();
    let name = format!("api:{}", plan.reference.tag().unwrap());
    let digest = backend.registry().push_image(&name, &Image::new());
    let image = builder.build(request).await.unwrap();
    assert_eq!((image.digest, image.outcome), (digest, Outcome::AlreadyExists));
    assert_eq!(backend.builds().len(), 0);
}
