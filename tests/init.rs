//! What `Builder::init` does in a cluster that is in this process.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use garden_build::config::{BuildMode, ClusterBuildkitOptions, DeploymentRegistry, ProviderConfig};
use garden_build::{Builder, Initialized};
use garden_build_testing::kubernetes::FakeCluster;

/// Installs what a project with cluster-buildkit needs that pushes to a registry outside of the cluster. Returns what is said meanwhile.
async fn init(fake: &FakeCluster, network_policies: bool) -> Vec<String> {
    let mut provider = ProviderConfig::kubernetes("shop");
    provider.build_mode = BuildMode::ClusterBuildkit(ClusterBuildkitOptions::default());
    provider.deployment_registry = Some(DeploymentRegistry::new("registry.example/team").unwrap());
    provider.network_policies = network_policies;
    let mut init = Builder::options(provider).client(fake.client()).connect().unwrap().init();
    let mut said = Vec::new();
    while let Some(event) = init.next_event().await {
        said.push(event.to_string());
    }
    assert_eq!(init.await.unwrap(), Initialized::default());
    said
}

#[tokio::test(start_paused = true)]
async fn the_network_policy_of_the_buildkit_daemon_comes_and_goes_with_the_option() {
    let fake = FakeCluster::new();
    let policies = || fake.names("networkpolicies");
    let says = |said: &[String], what: &str| said.iter().any(|line| line.contains(what));
    let said = init(&fake, false).await;
    assert!(says(&said, "nothing to install") && fake.writes().is_empty(), "{said:?}");
    let said = init(&fake, true).await;
    assert!(!says(&said, "nothing to install"), "{said:?}");
    assert_eq!(policies(), ["garden-buildkit"]);
    assert!(fake.object("networkpolicies", "shop-default", "garden-buildkit").is_some());
    let said = init(&fake, false).await;
    assert!(says(&said, "NetworkPolicy shop-default/garden-buildkit is removed"), "{said:?}");
    assert_eq!(policies(), Vec::<String>::new());
}
