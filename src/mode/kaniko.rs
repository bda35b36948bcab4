//! kaniko mode.

use std::sync::Arc;

use garden_build_core::{BoxFuture, BuildRequest, Error, EventSink, ImageReference, Result};
use garden_cluster::{BuilderProxies, Cluster, PushTarget, RegistryAccess};
use garden_config::{KanikoNamespace, KanikoOptions, Namespace, ProviderConfig};
use garden_kaniko::{ContextService, KanikoBackend};

use super::{BaseSources, Mode, Service};
use crate::Initialized;
use crate::target::Target;

/// Returns the mode that builds with these `options` and pushes to `target`.
pub(super) fn mode(
    options: &KanikoOptions,
    provider: &ProviderConfig,
    cluster: &Cluster,
    target: &Target,
) -> Result<Mode> {
    let namespace = match &options.namespace {
        KanikoNamespace::Named(name) if *name != provider.namespace.name => Namespace::new(name),
        _ => provider.namespace.clone(),
    };
    let credentials = target.registries.credentials();
    let target = &target.registry()?.push;
    let settings = garden_kaniko::spec::Settings {
        options: options.clone(),
        resources: provider.resources.builder.clone(),
        service_resources: provider.resources.util.clone(),
        service_storage: provider.storage.sync.clone(),
        idle_after: provider.idle_after,
        target: target.clone(),
        namespace,
        has_credentials: credentials.are_configured(),
        proxies: BuilderProxies::new(&provider.proxies),
        traces_url: provider.telemetry.traces_url(),
        network_policies: provider.network_policies,
    };
    let backend = KanikoBackend::new(cluster.clone(), settings, credentials.clone());
    let contexts = backend.context_service().cloned();
    let bases = OfFlags { target: target.clone(), extra_flags: options.extra_flags.clone() };
    Ok(Mode {
        service: contexts.map(|contexts| Arc::new(contexts) as Arc<dyn Service>),
        bases: Arc::new(bases),
        is_in_cluster: true,
        ..Mode::of(Arc::new(backend))
    })
}

/// Base images come from where the executor's flags say: those of the provider, and of each request.
#[derive(Debug)]
struct OfFlags {
    target: PushTarget,
    extra_flags: Vec<String>,
}

impl BaseSources for OfFlags {
    fn of(&self, request: &BuildRequest, image: &ImageReference) -> Vec<(RegistryAccess, ImageReference)> {
        // Flags that cannot be used end the build before this.
        let sources = garden_kaniko::image_sources(&self.target, &self.extra_flags, request);
        sources.unwrap_or_default().of(image)
    }
}

impl Service for ContextService {
    fn installing(&self) -> Option<String> {
        Some(format!("install the context service in Namespace {}", self.namespace()))
    }

    fn apply<'a>(&'a self, events: &'a EventSink) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Self::apply(self, events).await.map_err(Error::from) })
    }

    fn waiting(&self) -> Option<&'static str> {
        Some("wait for the context service")
    }

    fn ready<'a>(&'a self, events: &'a EventSink) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Self::ready(self, events).await.map_err(Error::from) })
    }

    fn note(&self, initialized: &mut Initialized) {
        initialized.context_service = true;
    }
}
