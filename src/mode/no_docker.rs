//! What stands for the Docker modes where they are not compiled in.

use std::sync::Arc;

use garden_cluster::Cluster;
use garden_config::ProviderConfig;

use crate::target::Nodes;

/// Stands for the daemon of local-docker, which this program cannot build on.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalDocker(());

impl LocalDocker {
    /// Images go to a registry.
    #[expect(clippy::unused_self, reason = "as where there is a daemon")]
    pub(crate) fn nodes(&self, _: &ProviderConfig, _: &Cluster) -> Option<Arc<dyn Nodes>> {
        None
    }
}
