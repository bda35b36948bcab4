//! Chooses the backend for the provider's build mode.

use std::sync::Arc;

use garden_build_core::{Backend, Error, ErrorKind, Result};
use garden_cluster::Cluster;
use garden_config::{BuildMode, KanikoNamespace, Namespace, ProviderConfig};
use garden_kaniko::KanikoBackend;
use garden_kaniko::spec::Settings;

use crate::target::Target;

/// Returns the backend that builds as `provider` says and pushes to `target`.
pub(crate) fn backend(
    provider: &ProviderConfig,
    cluster: &Cluster,
    target: &Target,
) -> Result<Arc<dyn Backend>> {
    let BuildMode::Kaniko(options) = &provider.build_mode else {
        let mode = provider.build_mode.as_str();
        return Err(Error::new(ErrorKind::Unsupported, format!("`buildMode`: {mode} is not supported yet"))
            .with_hint("set `buildMode: kaniko`"));
    };
    let namespace = match &options.namespace {
        KanikoNamespace::Named(name) if *name != provider.namespace.name => Namespace::new(name),
        _ => provider.namespace.clone(),
    };
    let settings = Settings {
        options: options.clone(),
        resources: provider.builder_resources.clone(),
        registry: target.registry.clone(),
        registry_ca: target.registry_ca.clone(),
        namespace,
        pull_secrets: provider.image_pull_secrets.clone(),
    };
    Ok(Arc::new(KanikoBackend::new(cluster.clone(), settings)))
}
