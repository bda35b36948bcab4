//! Builds `examples/app` in the cluster that KUBECONFIG names and publishes the image under another name.
//!
//! ```sh
//! cargo run --example publish -- DESTINATION [TAG [ENVIRONMENT]]
//! ```
//!
//! Run it in the root of the repository. DESTINATION is a name like `registry.example/team/app`; who may push there is
//! taken from this machine's `docker login`, or from the provider's `imagePullSecrets`. TAG may be a template:
//! `'1.0-${module.hash}'`. ENVIRONMENT is one of `examples/app/project.garden.yml`: `testbed` (the default) or `dev`,
//! whose registry you set to yours first.

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use anyhow::Context as _;
use garden_build::config::BuildConfig;
use garden_build::{BuildRequest, Builder, PublishRequest};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let destination = arguments.next().context("name the DESTINATION")?;
    let tag = arguments.next();
    let environment = arguments.next().unwrap_or_else(|| "testbed".to_owned());

    let project = garden_build::config::load("examples/app/project.garden.yml")?;
    let environment = project.environment(&environment)?;
    let builder = Builder::options(environment.provider()?).connect()?;
    let image = builder.build(BuildRequest::new("app", "examples/app")).await?;

    let mut app = BuildConfig::new("app", "examples/app");
    app.publish_id = Some(destination);
    let version = image.reference.tag().unwrap_or_default();
    let tag = tag.map(|template| environment.publish_tag(&app, version, &template)).transpose()?;
    let name = app.public_image(version, tag.as_deref())?;

    let mut publishing = builder.publish(PublishRequest::new(&image, name));
    while let Some(event) = publishing.next_event().await {
        println!("{event}");
    }
    let published = publishing.await?;
    println!("{}@{}", published.reference, published.copied.digest);
    Ok(())
}
