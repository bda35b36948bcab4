//! The part of a clean-up that is about the Docker daemon in the cluster.

use futures::future::BoxFuture;
use garden_build_core::{EventSink, ImageReference, Result, StepKind};
use garden_docker::{ClusterDaemon, DaemonCleanUp, DaemonCleanUpReport, DaemonRules, InRegistry};
use garden_registry::Resolution;

use super::CleanUpOptions;
use crate::target::Target;

/// Has the daemon forget what the registry has no more.
pub(super) struct DaemonStep {
    pub(super) daemon: ClusterDaemon,
    pub(super) options: CleanUpOptions,
    pub(super) events: EventSink,
}

impl DaemonStep {
    /// `is_in_cluster` says where the registry of `target` is.
    pub(super) async fn run(&self, target: &Target, is_in_cluster: bool) -> Result<DaemonCleanUpReport> {
        let step = self
            .events
            .step(StepKind::CleanUp, "have the Docker daemon forget what the registry has no more");
        step.end(self.forget(target, is_in_cluster).await)
    }

    async fn forget(&self, target: &Target, is_in_cluster: bool) -> Result<DaemonCleanUpReport> {
        let registry = target.registry()?;
        let (named, reached) = (&registry.push.named, registry.push.reached.host());
        let rules = DaemonRules {
            registry: named.host(),
            // The one in the cluster is ours altogether.
            namespace: named.namespace.clone().filter(|_| !is_in_cluster),
            keep_younger_than: self.options.keep_younger_than,
            caches_older_than: self.options.caches_older_than,
        };
        let client = target.client().await?;
        let ask = move |image: ImageReference| -> BoxFuture<'static, InRegistry> {
            let (client, reached) = (client.clone(), reached.clone());
            Box::pin(async move {
                let Ok(image) = image.in_registry(&reached) else { return InRegistry::Unknown };
                match client.resolve(&image).await {
                    Ok(Resolution::Exists(_)) => InRegistry::Exists,
                    Ok(Resolution::Missing) => InRegistry::Missing,
                    Err(_) => InRegistry::Unknown,
                }
            })
        };
        let clean_up = DaemonCleanUp::new(&self.daemon, rules);
        Ok(Box::pin(clean_up.run(&ask, &self.events)).await?)
    }
}
