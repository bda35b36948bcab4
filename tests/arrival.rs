//! Whose word a build's image is.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::net::TcpListener;
use std::sync::Arc;

use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::{BuildRequest, Builder, BuiltImage};
use garden_build_testing::backend::{Script, ScriptedBackend};
use garden_build_testing::kubernetes::FakeCluster;
use garden_build_testing::registry::Registry;

/// A backend that asks whether what it says to have pushed is seen.
async fn asking() -> ScriptedBackend {
    let backend = ScriptedBackend::new(&Registry::start().await);
    backend.otherwise(Script::succeed().ask_registry());
    backend
}

/// Builds with the registry at `host`. Returns the image, and whether the backend was told that it had arrived.
async fn build(backend: &ScriptedBackend, host: &str, force: bool) -> (BuiltImage, bool) {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let mut provider = ProviderConfig::kubernetes("demo");
    let mut deployment = DeploymentRegistry::new(host).unwrap();
    deployment.insecure = true;
    provider.deployment_registry = Some(deployment);
    let options = Builder::options(provider).client(FakeCluster::new().client());
    let builder = options.backend(Arc::new(backend.clone())).connect().unwrap();
    let image = builder.build(BuildRequest::new("api", directory.path()).force(force)).await.unwrap();
    (image, backend.builds().pop().unwrap().is_witnessed.unwrap())
}

#[tokio::test]
async fn an_image_that_comes_with_the_build_is_seen() {
    let backend = asking().await;
    let (image, seen) = build(&backend, &backend.registry().host(), false).await;
    assert!(seen && image.confirmed_by_registry, "{image:?}");
}

#[tokio::test]
async fn an_image_that_was_there_before_proves_nothing() {
    let backend = asking().await;
    build(&backend, &backend.registry().host(), false).await;
    let (image, seen) = build(&backend, &backend.registry().host(), true).await;
    assert!(!seen && image.confirmed_by_registry, "{image:?}");
}

#[tokio::test]
async fn a_registry_that_does_not_answer_has_seen_nothing_and_the_image_says_so() {
    let backend = asking().await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (image, seen) = build(&backend, &nobody, false).await;
    assert!(!seen && !image.confirmed_by_registry, "{image:?}");
}
