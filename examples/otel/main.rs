//! Builds `examples/app` with kaniko and with cluster-buildkit in the cluster that KUBECONFIG names, has both traced by OpenTelemetry, and prints the traces.
//!
//! ```sh
//! cargo run --example otel -- [ENVIRONMENT…]
//! ```
//!
//! Run it in the root of the repository. ENVIRONMENT is one of `examples/app/project.garden.yml`; the default is `testbed` and `testbed-buildkit`. The collector is in this
//! process; yours stands elsewhere, and its address is all that is different.

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use garden_build::{BuildRequest, Builder, config};
use tracing::Instrument as _;

mod collector;
mod export;

use collector::Collector;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut environments: Vec<String> = std::env::args().skip(1).collect();
    if environments.is_empty() {
        environments = ["testbed", "testbed-buildkit"].map(str::to_owned).to_vec();
    }
    let project = config::load("examples/app/project.garden.yml")?;
    let (collector, endpoint) = Collector::listen()?;
    let provider = export::spans(&endpoint)?;
    for environment in environments {
        // A span of this program's own: the build's are within it.
        let span = tracing::info_span!(target: export::TARGET, "deployment");
        // The daemon goes on with the trace. Where it sends its spans, `telemetry.endpoint` of the configuration says.
        let builder =
            Builder::options(project.provider(&environment)?).trace_context(export::current).connect()?;
        let request = BuildRequest::new("app", "examples/app").force(true);
        let image = async { builder.build(request).await }.instrument(span).await?;
        println!("{}@{}", image.reference, image.digest);
    }
    provider.shutdown()?;
    println!("{}", collector::tree(&collector.spans()));
    Ok(())
}
