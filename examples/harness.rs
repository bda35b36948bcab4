//! A test harness: tests say which image they need, and get one. Without a cluster, a backend of `garden-build-testing` builds it, and is as quick as a
//! function.
//!
//! ```sh
//! cargo run --example harness                  # with that backend
//! cargo run --example harness -- ENVIRONMENT   # for real
//! ```
//!
//! Make one builder per runtime: a builder in a `static` that several `#[tokio::test]`s share loses its builds when the test that began them ends.
//!
//! Run it in the root of the repository. ENVIRONMENT is one of `examples/app/project.garden.yml`: `testbed` or `dev`, whose registry you set
//! to yours first.

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use std::sync::Arc;

use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::{BuildRequest, Builder, BuiltImage, Caches, Outcome};
use garden_build_testing::backend::ScriptedBackend;
use garden_build_testing::registry::Registry;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let builder = match std::env::args().nth(1) {
        Some(name) => {
            let provider = garden_build::config::load("examples/app/project.garden.yml")?.provider(&name)?;
            // Tests leave nothing behind on this machine, and are not affected by earlier tests.
            Builder::options(provider).caches(Caches::none()).connect()?
        }
        None => builder_of(&ScriptedBackend::new(&Registry::start().await))?,
    };
    let files = [("Dockerfile", "FROM busybox:1.36\nCOPY greeting /\n"), ("greeting", "hello\n")];
    for _ in 0..2 {
        let image = image(&builder, "greeting", &files).await?;
        println!("{}", image.reference.at(image.digest)); // for a Pod, or for `docker run`
        match image.outcome {
            Outcome::AlreadyExists => println!("it was there already"),
            outcome => println!("it had to be made: {outcome:?}"),
        }
    }
    builder.settled().await;
    Ok(())
}

/// Returns an image with these files. It exists when it is returned; the files are gone.
pub(crate) async fn image(
    builder: &Builder,
    name: &str,
    files: &[(&str, &str)],
) -> anyhow::Result<BuiltImage> {
    let directory = tempfile::TempDir::new()?;
    for (path, content) in files {
        std::fs::write(directory.path().join(path), content)?;
    }
    // Messages say `greeting/`, and not where the temporary directory is.
    let request = BuildRequest::new(name, directory.path()).shown_as(format!("{name}/"));
    Ok(builder.build(request).await?)
}

/// Returns a builder of which only the backend and the registry are not the real ones: contexts are read, images named, looked for and confirmed
/// as everywhere.
pub(crate) fn builder_of(backend: &ScriptedBackend) -> anyhow::Result<Builder> {
    let mut deployment = DeploymentRegistry::new(&backend.registry().host())?;
    deployment.insecure = true;
    let mut provider = ProviderConfig::kubernetes("tests");
    provider.deployment_registry = Some(deployment);
    Ok(Builder::options(provider).caches(Caches::none()).backend(Arc::new(backend.clone())).connect()?)
}
