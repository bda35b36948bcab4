//! Images of one's own for [testcontainers](https://docs.rs/testcontainers): `garden_build` builds them on the same Docker daemon, which then
//! runs them.
//!
//! An image is named after its content, so one that exists is not built again: tests that ask for the same files, also at the same time,
//! share one build.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use garden_build::config::{BuildMode, DeploymentRegistry, ProviderConfig};
use garden_build::{BuildRequest, Builder, Caches};
use tempfile::TempDir;
use testcontainers::GenericImage;

/// Returns a builder for the Docker daemon that the environment names (`DOCKER_HOST`, else the one of this machine), as testcontainers
/// does. It pushes to `registry`, such as `localhost:5000`: that is where it finds again what an earlier test has built.
///
/// Make one per runtime: builds end with the runtime of the test that began them.
pub fn builder(registry: &str) -> Result<Builder> {
    let mut registry = DeploymentRegistry::new(registry)?;
    registry.namespace = Some("tests".to_owned());
    registry.insecure = true;
    let mut provider = ProviderConfig::kubernetes("tests");
    provider.build_mode = BuildMode::LocalDocker;
    provider.deployment_registry = Some(registry);
    // Tests leave nothing behind on this machine, and are not affected by earlier tests.
    Ok(Builder::options(provider).caches(Caches::none()).connect()?)
}

/// Returns an image with these files, of which one is the `Dockerfile`. It exists when it is returned: the Docker daemon has it, or pulls it
/// from the registry when a container starts.
pub async fn image(builder: &Builder, name: &str, files: &[(&str, &str)]) -> Result<GenericImage> {
    let directory = TempDir::new()?;
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        fs::write(path, content)?;
    }
    // Messages name `greeting/`, and not the temporary directory.
    let request = BuildRequest::new(name, directory.path()).shown_as(format!("{name}/"));
    let built = builder.build(request).await?;
    let tag = built.reference.tag().context("an image that was built has a tag")?;
    Ok(GenericImage::new(built.reference.name(), tag.to_owned()))
}
