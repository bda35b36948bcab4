//! cluster-buildkit mode.

use std::sync::Arc;

use garden_build_core::{BoxFuture, EventSink, Result};
use garden_buildkit::{BuildkitBackend, Settings};
use garden_cluster::{BuilderProxies, Cluster, ImageSources};
use garden_config::{ClusterBuildkitOptions, ProviderConfig};

use super::{Mode, Service};
use crate::target::Target;

/// Returns the mode that builds with these `options` and pushes to `target`.
pub(super) fn mode(
    options: &ClusterBuildkitOptions,
    provider: &ProviderConfig,
    cluster: &Cluster,
    target: &Target,
) -> Result<Mode> {
    let mut options = options.clone();
    options.image = Some(options.image_from(&provider.util_image_registry_domain));
    let settings = Settings::new(
        &options,
        provider.namespace.clone(),
        provider.resources.builder.clone(),
        &target.registry()?.push,
    )?
    .proxies(BuilderProxies::new(&provider.proxies))
    .traces_url(provider.telemetry.traces_url())
    .idle_after(provider.idle_after)
    .network_policies(provider.network_policies);
    let bases = Arc::new(ImageSources::new(settings.registries().to_vec()));
    let backend = BuildkitBackend::new(cluster.clone(), settings, target.registries.credentials().clone());
    let service: Option<Arc<dyn Service>> = Some(Arc::new(backend.clone()));
    Ok(Mode { bases, service, is_in_cluster: true, ..Mode::of(Arc::new(backend)) })
}

/// Builds install the daemon. Its `NetworkPolicy` is installed ahead of them, or removed.
impl Service for BuildkitBackend {
    fn installing(&self) -> Option<String> {
        self.wants_network_policy().then(|| "apply the NetworkPolicy of the BuildKit daemon".to_owned())
    }

    fn apply<'a>(&'a self, events: &'a EventSink) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.settle_network_policy(events))
    }
}
