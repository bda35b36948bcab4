//! Prints everything that building `examples/app` would create in the cluster, as YAML-compatible
//! JSON with secrets redacted. Needs no kubeconfig, and asks neither the cluster nor the registry. Run
//! it in the root of the repository.
//!
//! ```sh
//! cargo run --example plan -- [ENVIRONMENT]
//! ```

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use garden_build::{BuildRequest, Builder};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = std::env::args().nth(1).unwrap_or_else(|| "testbed".to_owned());
    let provider = garden_build::config::load("examples/app/project.garden.yml")?.provider(&environment)?;
    let builder = Builder::options(provider).connect()?;

    let plan = builder.plan(BuildRequest::new("app", "examples/app").build_arg("RELEASE", "1.0")).await?;
    println!("# would push {}", plan.reference);
    for planned in plan.objects {
        println!("---\n# {}", planned.description);
        println!("{}", serde_json::to_string_pretty(&planned.object)?);
    }
    Ok(())
}
