//! How a builder is made.

use std::sync::Arc;

use garden_build_core::{Backend, Caches, Result, TraceContext};
use garden_cluster::Cluster;
use garden_config::ProviderConfig;
#[cfg(feature = "docker")]
use garden_docker::{DaemonChoice, DockerDaemon};

use crate::builder::Builder;
use crate::builder::limits::Limits;
use crate::builder::trace::TraceSource;
use crate::mode::{self, LocalDocker, Mode};
use crate::target::Target;

/// What a [`Builder`] is made of, besides the provider's configuration. Made by [`Builder::options`].
///
/// ```no_run
/// # fn example(provider: garden_build::config::ProviderConfig, client: kube::Client) -> garden_build::Result<()> {
/// use garden_build::{Builder, Caches};
///
/// let builder =
///     Builder::options(provider).client(client).caches(Caches::none()).most_builds(4).connect()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct BuilderOptions {
    provider: ProviderConfig,
    cluster: Option<Cluster>,
    local_docker: LocalDocker,
    backend: Option<Arc<dyn Backend>>,
    caches: Caches,
    limits: Limits,
    trace: TraceSource,
}

impl BuilderOptions {
    pub(super) fn new(provider: ProviderConfig) -> Self {
        Self {
            provider,
            cluster: None,
            local_docker: LocalDocker::default(),
            backend: None,
            caches: Caches::of_user(),
            limits: Limits::default(),
            trace: TraceSource::default(),
        }
    }

    /// Uses a Kubernetes client that the caller has set up; the provider's `kubeconfig` and `context` then count for nothing. Default: a client
    /// for the cluster that these name, made when the cluster is first asked.
    ///
    /// A client as kube makes it waits up to 40 ms with small messages (Nagle's algorithm), of which a build with `BuildKit` exchanges a few
    /// dozen; the default client does not.
    pub fn client(mut self, client: kube::Client) -> Self {
        self.cluster = Some(Cluster::new(client));
        self
    }

    /// Builds on this daemon with the build mode local-docker. Default: the daemon that the `docker` command would use.
    #[cfg(feature = "docker")]
    pub fn docker(mut self, daemon: DockerDaemon) -> Self {
        self.local_docker = LocalDocker(DaemonChoice::Daemon(daemon));
        self
    }

    /// Builds with a backend of the caller's own; the provider's `buildMode` then counts for nothing.
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Keeps what is learned for later builds in `caches`: digests of files, by which an unchanged context is known without reading it; what base
    /// images are, by which Docker Hub is asked for a digest and not for a pull; and what a context service has, by which nobody asks it. With
    /// [`Caches::none`], all this is learned again by each builder. Default: the user's directory for caches.
    pub fn caches(mut self, caches: Caches) -> Self {
        self.caches = caches;
        self
    }

    /// Lets at most so many builds be under way at a time; others wait for their turn, and are cancelled and time out while they do. Their time
    /// limit begins when they are started. At least 1. Default: no limit.
    pub fn most_builds(mut self, count: usize) -> Self {
        self.limits.set_builds(count);
        self
    }

    /// Lets at most so many build contexts be read at a time. At least 1. Default: the number of processors, as each reading uses
    /// all of them.
    pub fn most_scans(mut self, count: usize) -> Self {
        self.limits.set_scans(count);
        self
    }

    /// Makes builders continue the caller's trace: `current` returns the current span, and each call of the build passes it to the `BuildKit` daemon. It is
    /// asked when a build begins, on the thread that begins it and within the span `operation`, so it can read what is current there; and once more
    /// within the task that builds a missing image. If it returns `None` there, its first answer is used. It must not use this builder, which waits for it. Default: no trace is passed on.
    ///
    /// kaniko's maintained fork takes no parent: its spans name the span that they belong to, as attributes.
    ///
    /// This crate knows no version of OpenTelemetry. With `tracing-opentelemetry`, the current span is read like this (`examples/otel` is a whole program):
    ///
    /// ```ignore
    /// fn current() -> Option<TraceContext> {
    ///     let mut headers = HashMap::new();
    ///     TraceContextPropagator::new().inject_context(&tracing::Span::current().context(), &mut headers);
    ///     let state = headers.get("tracestate").map_or("", String::as_str);
    ///     TraceContext::new(headers.get("traceparent")?, state).ok()
    /// }
    /// ```
    pub fn trace_context(
        mut self,
        current: impl Fn() -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Self {
        self.trace = TraceSource::new(current);
        self
    }

    /// Makes the builder. Neither the cluster nor a registry nor a Docker daemon is asked yet, nor is a kubeconfig read.
    ///
    /// # Errors
    /// If the configuration is incomplete or asks for what is not supported, such as a build mode whose feature this program was compiled without.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn connect(self) -> Result<Builder> {
        let Self { provider, cluster, local_docker, backend, caches, limits, trace } = self;
        provider.check()?;
        if backend.is_none() {
            mode::check_compiled(&provider.build_mode)?;
        }
        let cluster = cluster.unwrap_or_else(|| Cluster::of(&provider));
        let target = Target::new(&provider, &cluster, local_docker.nodes(&provider, &cluster))?;
        let mode = match backend {
            Some(backend) => Mode::of(backend),
            None => mode::mode(&provider, &cluster, &target, &local_docker)?,
        };
        Ok(Builder::from_parts(provider, target, mode, caches, limits, trace))
    }
}
