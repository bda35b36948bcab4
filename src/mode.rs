//! Chooses the backend for the provider's build mode, and says what it needs.

use std::sync::Arc;

use garden_build_core::{Backend, BuildRequest, Error, ErrorKind, ImageReference, MissingCapability, Result};
use garden_buildkit::BuildkitBackend;
use garden_cluster::{BuilderProxies, Cluster, ImageSources, PushTarget, RegistryAccess};
use garden_config::{BuildMode, ClusterDockerOptions, KanikoNamespace, Namespace, ProviderConfig};
use garden_docker::{ClusterDaemon, ClusterDaemonSettings, ClusterDockerBackend, LocalDockerBackend};
use garden_kaniko::{ContextService, KanikoBackend};

use crate::target::Target;

/// What builds images, and what it needs in the cluster besides its builders.
pub(crate) struct Mode {
    pub(crate) backend: Arc<dyn Backend>,
    /// The Docker daemon in the cluster, if it builds.
    pub(crate) daemon: Option<ClusterDaemon>,
    /// What hands contexts to builders, if something does.
    pub(crate) contexts: Option<ContextService>,
    /// What builds on the `BuildKit` daemon of a namespace, if it does.
    pub(crate) buildkit: Option<BuildkitBackend>,
    /// Where its builders look for base images.
    pub(crate) bases: BaseSources,
    /// Whether its builders are in the cluster.
    pub(crate) is_in_cluster: bool,
}

/// Where a mode's builders look for base images.
#[derive(Clone, Debug)]
pub(crate) enum BaseSources {
    /// In the same places for each build. Docker daemons are not asked which: what they build from may be in them already.
    Fixed(ImageSources),
    /// Where the executor's flags say: those of the provider, and of each request.
    Kaniko { target: Box<PushTarget>, extra_flags: Vec<String> },
}

impl BaseSources {
    /// Returns the places where a build of `request` looks for `image`, one after the other.
    pub(crate) fn of(
        &self,
        request: &BuildRequest,
        image: &ImageReference,
    ) -> Vec<(RegistryAccess, ImageReference)> {
        match self {
            Self::Fixed(sources) => sources.of(image),
            Self::Kaniko { target, extra_flags } => {
                // Flags that cannot be used end the build before this.
                let sources = garden_kaniko::image_sources(target, extra_flags, request).unwrap_or_default();
                sources.of(image)
            }
        }
    }
}

impl Mode {
    /// Builds with `backend`, which needs nothing else.
    pub(crate) fn of(backend: Arc<dyn Backend>) -> Self {
        let bases = BaseSources::Fixed(ImageSources::default());
        Self { backend, daemon: None, contexts: None, buildkit: None, bases, is_in_cluster: false }
    }
}

/// Checks that `backend` can do what `request` asks for.
///
/// # Errors
/// [`ErrorKind::Unsupported`], naming the first field that it cannot honour, and what can; or what the backend says.
pub(crate) fn check(backend: &dyn Backend, request: &BuildRequest) -> Result<()> {
    let Some(missing) = backend.capabilities().missing_for(request) else { return backend.accept(request) };
    let hint = match missing {
        MissingCapability::MultiplePlatforms => "request one build per platform",
        _ => {
            "BuildKit can: the build mode `cluster-buildkit`, `cluster-docker` with `enableBuildKit`, and `local-docker` with a daemon that has it"
        }
    };
    Err(missing.error(backend.name(), hint))
}

/// Returns the mode that builds as `provider` says and pushes to `target`.
pub(crate) fn mode(provider: &ProviderConfig, cluster: &Cluster, target: &Target) -> Result<Mode> {
    let credentials = target.registries.credentials();
    let backend: Arc<dyn Backend> = match &provider.build_mode {
        BuildMode::ClusterDocker(options) => {
            let daemon = cluster_daemon(cluster, provider, options, target)?;
            let backend =
                ClusterDockerBackend::new(daemon.clone(), options.enable_buildkit, credentials.clone());
            return Ok(Mode { daemon: Some(daemon), is_in_cluster: true, ..Mode::of(Arc::new(backend)) });
        }
        BuildMode::Kaniko(options) => {
            let namespace = match &options.namespace {
                KanikoNamespace::Named(name) if *name != provider.namespace.name => Namespace::new(name),
                _ => provider.namespace.clone(),
            };
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
            let bases = BaseSources::Kaniko {
                target: Box::new(target.clone()),
                extra_flags: options.extra_flags.clone(),
            };
            return Ok(Mode { contexts, bases, is_in_cluster: true, ..Mode::of(Arc::new(backend)) });
        }
        BuildMode::ClusterBuildkit(options) => {
            let mut options = options.clone();
            options.image = Some(options.image_from(&provider.util_image_registry_domain));
            let settings = garden_buildkit::Settings::new(
                &options,
                provider.namespace.clone(),
                provider.resources.builder.clone(),
                &target.registry()?.push,
            )?
            .proxies(BuilderProxies::new(&provider.proxies))
            .traces_url(provider.telemetry.traces_url())
            .idle_after(provider.idle_after)
            .network_policies(provider.network_policies);
            let bases = BaseSources::Fixed(ImageSources::new(settings.registries().to_vec()));
            let backend = BuildkitBackend::new(cluster.clone(), settings, credentials.clone());
            let buildkit = Some(backend.clone());
            return Ok(Mode { bases, buildkit, is_in_cluster: true, ..Mode::of(Arc::new(backend)) });
        }
        BuildMode::LocalDocker => {
            let credentials = credentials.clone();
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
    Ok(Mode::of(backend))
}

/// Returns the Docker daemon in the cluster that builds with these `options`.
fn cluster_daemon(
    cluster: &Cluster,
    provider: &ProviderConfig,
    options: &ClusterDockerOptions,
    target: &Target,
) -> Result<ClusterDaemon> {
    let settings = ClusterDaemonSettings::new(provider, options, &target.registry()?.push)?;
    Ok(ClusterDaemon::new(cluster.clone(), settings, target.registries.credentials().clone()))
}
