//! Chooses the backend for the provider's build mode.

use std::sync::Arc;

use garden_build_core::{Backend, Error, ErrorKind, Result};
use garden_buildkit::BuildkitBackend;
use garden_cluster::Cluster;
use garden_config::{BuildMode, ClusterDockerOptions, KanikoNamespace, Namespace, ProviderConfig};
use garden_docker::{ClusterDaemon, ClusterDaemonSettings, ClusterDockerBackend, LocalDockerBackend};
use garden_kaniko::KanikoBackend;

use crate::target::Target;

/// Returns the backend that builds as `provider` says and pushes to `target`, and the Docker daemon in the cluster if it builds there.
pub(crate) fn backend(
    provider: &ProviderConfig,
    cluster: &Cluster,
    target: &Target,
) -> Result<(Arc<dyn Backend>, Option<ClusterDaemon>)> {
    let backend: Arc<dyn Backend> = match &provider.build_mode {
        BuildMode::ClusterDocker(options) => {
            let daemon = cluster_daemon(cluster, provider, options, target)?;
            let credentials = target.registry_credentials.clone();
            let backend = ClusterDockerBackend::new(daemon.clone(), options.enable_buildkit, credentials);
            return Ok((Arc::new(backend), Some(daemon)));
        }
        BuildMode::Kaniko(options) => {
            let namespace = match &options.namespace {
                KanikoNamespace::Named(name) if *name != provider.namespace.name => Namespace::new(name),
                _ => provider.namespace.clone(),
            };
            let registry = target.registry()?;
            let settings = garden_kaniko::spec::Settings {
                options: options.clone(),
                resources: provider.resources.builder.clone(),
                registry: registry.reached.clone(),
                registry_alias: registry.alias(),
                registry_ca: registry.ca.clone(),
                namespace,
                pull_secrets: provider.image_pull_secrets.clone(),
            };
            Arc::new(KanikoBackend::new(cluster.clone(), settings))
        }
        BuildMode::ClusterBuildkit(options) => {
            let registry = target.registry()?;
            let mut options = options.clone();
            options.image = Some(options.image_from(&provider.util_image_registry_domain));
            let mut settings = garden_buildkit::Settings::new(
                &options,
                provider.namespace.clone(),
                provider.resources.builder.clone(),
                registry.reached.clone(),
                registry.ca.clone(),
                provider.image_pull_secrets.clone(),
            )?;
            if let Some(alias) = registry.alias() {
                settings = settings.registry_alias(&alias);
            }
            Arc::new(BuildkitBackend::new(cluster.clone(), settings))
        }
        BuildMode::LocalDocker => {
            let credentials = target.registry_credentials.clone();
            Arc::new(match target.nodes() {
                Some(nodes) => LocalDockerBackend::for_nodes(nodes.clone(), credentials),
                None => LocalDockerBackend::new(target.daemon.clone(), credentials),
            })
        }
        other => {
            let message = format!("`buildMode`: {} is not supported", other.as_str());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    Ok((backend, None))
}

/// Returns the Docker daemon in the cluster that builds with these `options`.
fn cluster_daemon(
    cluster: &Cluster,
    provider: &ProviderConfig,
    options: &ClusterDockerOptions,
    target: &Target,
) -> Result<ClusterDaemon> {
    let registry = target.registry()?;
    let settings = ClusterDaemonSettings::new(provider, options, registry.named(), registry.ca.clone())?;
    Ok(ClusterDaemon::new(cluster.clone(), settings))
}
