//! The Docker modes: cluster-docker and local-docker.

use std::sync::Arc;

use garden_build_core::{BoxFuture, Digest, Error, EventSink, ImageReference, Result};
use garden_cluster::Cluster;
use garden_config::{BuildMode, ClusterDockerOptions, ProviderConfig, ProviderKind};
use garden_docker::{
    ClusterDaemon, ClusterDaemonSettings, ClusterDockerBackend, DaemonChoice, LocalDockerBackend, NodeImages,
};

use super::{Mode, Service};
use crate::Initialized;
use crate::target::{Nodes, Target};

/// The daemon that local-docker builds on.
#[derive(Clone, Debug)]
pub(crate) struct LocalDocker(pub(crate) DaemonChoice);

impl Default for LocalDocker {
    fn default() -> Self {
        Self(DaemonChoice::Environment)
    }
}

impl LocalDocker {
    /// Returns the nodes that images go to by way of the daemon, if they go to no registry.
    pub(crate) fn nodes(&self, provider: &ProviderConfig, cluster: &Cluster) -> Option<Arc<dyn Nodes>> {
        let nodes = self.node_images(provider, cluster)?;
        Some(Arc::new(nodes))
    }

    fn node_images(&self, provider: &ProviderConfig, cluster: &Cluster) -> Option<NodeImages> {
        let are_meant = provider.build_mode == BuildMode::LocalDocker
            && provider.kind == ProviderKind::LocalKubernetes
            && provider.deployment_registry.is_none();
        are_meant.then(|| NodeImages::new(cluster.clone(), self.0.clone()))
    }
}

impl Nodes for NodeImages {
    fn find<'a>(&'a self, image: &'a ImageReference) -> BoxFuture<'a, Result<Option<Digest>>> {
        Box::pin(Self::find(self, image))
    }
}

/// Returns the mode that builds on the daemon of this machine.
pub(super) fn local(
    daemon: &LocalDocker,
    provider: &ProviderConfig,
    cluster: &Cluster,
    target: &Target,
) -> Mode {
    let credentials = target.registries.credentials().clone();
    let backend = match daemon.node_images(provider, cluster) {
        Some(nodes) => LocalDockerBackend::for_nodes(nodes, credentials),
        None => LocalDockerBackend::new(daemon.0.clone(), credentials),
    };
    Mode::of(Arc::new(backend))
}

/// Returns the mode that builds on the daemon in the cluster, with these `options`.
pub(super) fn in_cluster(
    options: &ClusterDockerOptions,
    provider: &ProviderConfig,
    cluster: &Cluster,
    target: &Target,
) -> Result<Mode> {
    let credentials = target.registries.credentials();
    let settings = ClusterDaemonSettings::new(provider, options, &target.registry()?.push)?;
    let daemon = ClusterDaemon::new(cluster.clone(), settings, credentials.clone());
    let backend = ClusterDockerBackend::new(daemon.clone(), options.enable_buildkit, credentials.clone());
    let service: Option<Arc<dyn Service>> = Some(Arc::new(daemon.clone()));
    Ok(Mode { service, daemon: Some(daemon), is_in_cluster: true, ..Mode::of(Arc::new(backend)) })
}

impl Service for ClusterDaemon {
    fn installing(&self) -> Option<String> {
        Some(format!("install the Docker daemon in Namespace {}", self.namespace()))
    }

    fn apply<'a>(&'a self, events: &'a EventSink) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Self::apply(self, events).await.map_err(Error::from) })
    }

    fn waiting(&self) -> Option<&'static str> {
        Some("wait for the Docker daemon")
    }

    fn ready<'a>(&'a self, events: &'a EventSink) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Self::ready(self, events).await.map_err(Error::from) })
    }

    fn is_installed(&self) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async { Self::is_installed(self).await.map_err(Error::from) })
    }

    fn note(&self, initialized: &mut Initialized) {
        initialized.docker_daemon = true;
    }
}
