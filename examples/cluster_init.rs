//! Installs the registry within the cluster that KUBECONFIG names, or upgrades it, and checks that nodes pull from it.
//!
//! ```sh
//! cargo run --example cluster_init -- [IMAGE]
//! ```
//!
//! Once for a cluster; `examples/cluster-init-role.yaml` has the rights that it takes. IMAGE is the registry's image, where
//! the official one cannot be pulled.

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use garden_build::Builder;
use garden_build::config::{BuildMode, ClusterBuildkitOptions, ProviderConfig};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Any mode that builds in the cluster, and no `deployment_registry`: then images go to the one within. With kaniko, its context service is
    // installed, too.
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.build_mode = BuildMode::ClusterBuildkit(ClusterBuildkitOptions::default());
    provider.in_cluster_registry.image = std::env::args().nth(1);
    let builder = Builder::options(provider).connect()?;

    let mut init = builder.init();
    while let Some(event) = init.next_event().await {
        println!("{event}");
    }
    if let Some(nodes) = init.await?.registry_nodes {
        println!("these nodes have pulled from it: {}", nodes.join(", "));
    }
    Ok(())
}
