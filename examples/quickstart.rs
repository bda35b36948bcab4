//! Builds `examples/app` in the cluster that KUBECONFIG names and prints what happens.
//!
//! ```sh
//! cargo run --example quickstart -- [ENVIRONMENT]
//! ```
//!
//! Run it in the root of the repository. ENVIRONMENT is one of `examples/app/project.garden.yml`: `testbed` (the default) or `dev`, whose
//! registry you set to yours first.

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use garden_build::{BuildRequest, Builder};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = std::env::args().nth(1).unwrap_or_else(|| "testbed".to_owned());
    let provider = garden_build::config::load("examples/app/project.garden.yml")?.provider(&environment)?;
    let builder = Builder::options(provider).connect()?;

    let request = BuildRequest::new("app", "examples/app");
    // Ctrl-C leaves nothing behind.
    let mut build = builder.build(request).until(tokio::signal::ctrl_c());
    while let Some(event) = build.next_event().await {
        println!("{event}");
    }
    let image = build.await?;
    println!("{}@{}", image.reference, image.digest);
    Ok(())
}
