//! Cleans up the registry within the cluster: says what would be deleted, and why everything else is kept, and
//! deletes it if it is told to.
//!
//! ```sh
//! cargo run --example cleanup -- [ENVIRONMENT] [--delete]
//! ```
//!
//! Run it in the root of the repository, first without `--delete`. ENVIRONMENT is one of `examples/app/project.garden.yml`
//! whose images go there: `in-cluster`, which is the default.

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use garden_build::{Builder, CleanUpOptions};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (flags, names): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|it| it.starts_with("--"));
    let environment = names.first().map_or("in-cluster", String::as_str);
    let provider = garden_build::config::load("examples/app/project.garden.yml")?.provider(environment)?;
    let builder = Builder::options(provider).connect()?;

    // Two hours is the default; whoever deploys later than that after a build should keep images for longer.
    let options = CleanUpOptions::new();
    if flags.iter().all(|flag| flag != "--delete") {
        println!("{}", builder.plan_clean_up(options).await?);
        return Ok(());
    }
    let mut clean_up = builder.clean_up_registry(options);
    while let Some(event) = clean_up.next_event().await {
        println!("{event}");
    }
    println!("{}", clean_up.await?);
    Ok(())
}
