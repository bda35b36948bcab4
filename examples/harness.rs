//! A test harness: tests say which image they need, and get one. Without a cluster, a fake backend builds it, and is as quick as a function.
//!
//! ```sh
//! cargo run --example harness                  # with the fake
//! cargo run --example harness -- ENVIRONMENT   # for real
//! ```
//!
//! Make one builder per runtime: a builder in a `static` that several `#[tokio::test]`s share loses its builds when the test that began them ends.
//!
//! Run it in the root of the repository. ENVIRONMENT is one of `examples/app/project.garden.yml`: `testbed` or `dev`, whose registry you set
//! to yours first.

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::{Router, http::StatusCode, routing};
use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::{
    Backend, BoxFuture, BuildControl, BuildJob, BuildRequest, Builder, BuiltImage, Caches, Capabilities,
    Digest, Outcome, Pushed, Result,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let builder = match std::env::args().nth(1) {
        Some(name) => {
            let provider = garden_build::config::load("examples/app/project.garden.yml")?.provider(&name)?;
            // Tests leave nothing behind on this machine, and learn nothing of those before.
            Builder::options(provider).caches(Caches::none()).connect()?
        }
        None => fake_builder().await?,
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
pub(crate) async fn fake_builder() -> anyhow::Result<Builder> {
    let fake = Fake::default();
    let registry = Router::new().route("/v2/{name}/manifests/{tag}", routing::get(manifest));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut deployment = DeploymentRegistry::new(&listener.local_addr()?.to_string())?;
    deployment.insecure = true;
    tokio::spawn(axum::serve(listener, registry.with_state(fake.clone())).into_future());

    let mut provider = ProviderConfig::kubernetes("tests");
    provider.deployment_registry = Some(deployment);
    Ok(Builder::options(provider).caches(Caches::none()).backend(Arc::new(fake)).connect()?)
}

/// What was pushed, by tag.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<BTreeMap<String, Digest>>>);

impl Backend for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// The same context is the same image, whenever and wherever it is built.
    fn build<'a>(&'a self, job: &'a BuildJob, _: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        let digest = job.context.manifest().digest();
        let tag = job.push_to.tag().unwrap_or_default().to_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tag, digest);
        Box::pin(async move { Ok(Pushed::new(digest, 0, 1)) })
    }
}

/// Answers as a registry does: with the digest that a tag stands for.
async fn manifest(
    State(fake): State<Fake>,
    Path((_, tag)): Path<(String, String)>,
) -> Result<[(&'static str, String); 1], StatusCode> {
    let pushed = fake.0.lock().unwrap_or_else(PoisonError::into_inner);
    let digest = pushed.get(&tag).ok_or(StatusCode::NOT_FOUND)?;
    Ok([("Docker-Content-Digest", digest.to_string())])
}
