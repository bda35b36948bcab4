use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use garden_build_core::{
    Backend, BuildControl, BuildRequest, Caches, CancellationToken, Error, ErrorKind, EventSink, Result,
    SweepReport,
};
use garden_cluster::{EnsuredSecret, ensure_pull_secrets};
use garden_config::{BuildMode, CacheLayer, Notice, ProviderConfig, ProviderKind, SecretRef};
#[cfg(feature = "docker")]
use garden_docker::ClusterDaemon;

mod build;
mod confirm;
mod find;
mod left_out;
mod limits;
mod options;
mod same_image;
mod suspicions;
mod trace;

pub use options::BuilderOptions;

use limits::Limits;
use same_image::SameImages;
use trace::TraceSource;

use crate::base_images::BaseImages;
use crate::init::Services;
use crate::mode::{self, Mode};
use crate::running::Operations;
use crate::target::{Known, Target};
use crate::{Build, Operation, Plan, Status};

/// Builds images as a provider's configuration says. Cheap to clone; clones share everything. Its operations run in the Tokio runtime in which they
/// are begun.
#[derive(Clone, Debug)]
pub struct Builder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Arc<dyn Backend>,
    target: Target,
    /// What builds need in the cluster besides builders.
    services: Services,
    /// The Docker daemon in the cluster, if it builds.
    #[cfg(feature = "docker")]
    daemon: Option<ClusterDaemon>,
    /// Whether builders are in the cluster.
    is_in_cluster: bool,
    /// The Secrets that workloads may need.
    secrets: Vec<SecretRef>,
    /// What is to be installed in the cluster is installed by the build that needs it.
    installs: bool,
    /// The tags of build caches, which a clean-up keeps.
    cache_tags: BTreeSet<String>,
    /// Where what is learned is kept from one build to the next.
    caches: Caches,
    base_images: BaseImages,
    notices: Vec<Notice>,
    limits: Limits,
    trace: TraceSource,
    same_images: SameImages,
    operations: Operations,
}

impl Builder {
    /// Returns what makes a builder for `provider`: [`BuilderOptions::connect`] does, and before it, what a program wants otherwise is said.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use garden_build::{Builder, config::ProviderConfig};
    ///
    /// let builder = Builder::options(ProviderConfig::kubernetes("demo")).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn options(provider: ProviderConfig) -> BuilderOptions {
        BuilderOptions::new(provider)
    }

    fn from_parts(
        provider: ProviderConfig,
        target: Target,
        mode: Mode,
        caches: Caches,
        limits: Limits,
        trace: TraceSource,
    ) -> Self {
        let services = Services { registry: target.in_cluster().cloned(), of_mode: mode.service };
        let installs = provider.kind == ProviderKind::LocalKubernetes;
        let cache_tags = match &provider.build_mode {
            BuildMode::ClusterBuildkit(options) => {
                let tag = |layer: &CacheLayer| match layer {
                    CacheLayer::Registry(cache) => Some(cache.tag.clone()),
                    _ => None,
                };
                options.cache.iter().filter_map(tag).collect()
            }
            _ => BTreeSet::new(),
        };
        let secrets = [provider.image_pull_secrets, provider.copy_secrets].concat();
        Self(Arc::new(Inner {
            backend: mode.backend,
            target,
            services,
            #[cfg(feature = "docker")]
            daemon: mode.daemon,
            is_in_cluster: mode.is_in_cluster,
            secrets,
            installs,
            cache_tags,
            base_images: BaseImages::new(mode.bases, &caches),
            caches,
            notices: provider.notices,
            limits,
            trace,
            same_images: SameImages::default(),
            operations: Operations::default(),
        }))
    }

    /// Builds an image and pushes it, unless it exists.
    ///
    /// Who asks for an image while this builder, or a clone of it, builds the same already, waits for that build and sees its events. The build goes
    /// on for as long as one of them waits.
    ///
    /// # Errors
    /// When awaited, if the image was not built and pushed; the [`Error`] says why and what to do. If the build mode cannot do what the request asks
    /// for, that is said before anything else happens.
    pub fn build(&self, request: BuildRequest) -> Build {
        let inner = Arc::clone(&self.0);
        self.begin(format!("build {}", request.name), |events, cancel| {
            // Here, not in the task: this is the caller's thread.
            let trace = inner.trace.current();
            async move {
                mode::check(inner.backend.as_ref(), &request)?;
                let cx = BuildControl::new(events, cancel, request.timeout)
                    .with_caches(inner.caches.clone())
                    .with_trace_context(trace);
                let target = inner.target.clone();
                let is_in_cluster = inner.is_in_cluster;
                // In a box, as a whole build is a large future.
                let building = Box::pin(inner.build(request, &cx));
                if is_in_cluster {
                    target.reporting_silence(&cx.events, building).await
                } else {
                    target.with_images(&cx.events, building).await
                }
            }
        })
    }

    /// Returns what a build would do. Changes nothing.
    ///
    /// # Errors
    /// When awaited, if the context cannot be read or the registry cannot be asked.
    pub fn status(&self, request: BuildRequest) -> Operation<Status> {
        let inner = Arc::clone(&self.0);
        self.begin(format!("look for the image of {}", request.name), |events, cancel| async move {
            mode::check(inner.backend.as_ref(), &request)?;
            inner.target.registries.begin();
            let cx = BuildControl::new(events, cancel, request.timeout);
            let finding = cx.until_stopped(Box::pin(inner.find(request, false, &cx.events, &cx.cancel)));
            let (prepared, known) = inner.target.with_images(&cx.events, finding).await?;
            let existing = match known {
                Known::Exists(digest) => Some(digest),
                Known::Missing => None,
                Known::Unknown(error) => return Err(error),
            };
            Ok(Status { reference: prepared.reference, version: prepared.version, existing })
        })
    }

    /// Returns everything that a build would create, with secrets redacted. Changes nothing and
    /// asks neither cluster nor registry. As it does not know what the `imagePullSecrets` hold, all of them are shown as copied to where the
    /// builder is, and named there; a build does so only with those that nodes need to pull the builder's own image.
    ///
    /// # Errors
    /// When awaited, if the context cannot be read, or an option makes the build impossible.
    pub fn plan(&self, request: BuildRequest) -> Operation<Plan> {
        let inner = Arc::clone(&self.0);
        self.begin(format!("plan the build of {}", request.name), |events, cancel| async move {
            mode::check(inner.backend.as_ref(), &request)?;
            let cx = BuildControl::new(events, cancel, request.timeout);
            let mut prepared =
                cx.until_stopped(Box::pin(inner.prepare(request, &cx.events, &cx.cancel))).await?;
            prepared.take_caveats()?;
            let job = inner.job(prepared)?;
            let objects = inner.backend.plan(&job)?;
            Ok(Plan { reference: job.destination, objects })
        })
    }

    /// Waits until all has ended that this builder and its clones have begun, and that was dropped, cancelled or detached: then what it had created for
    /// itself in the cluster is removed. Call it before the runtime ends.
    pub async fn settled(&self) {
        self.0.operations.settled().await;
    }

    /// Ends all that this builder and its clones have begun: cancels it, lets nothing else begin, and waits for `patience` until it has cleaned up. A verb
    /// that is called afterwards ends with [`ErrorKind::Cancelled`].
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if something has not ended by then; the message says what. What it leaves in the cluster goes with the next
    /// [`sweep`](Self::sweep) or build.
    pub async fn shutdown(&self, patience: Duration) -> Result<()> {
        let left = self.0.operations.shut_down(patience).await;
        if left.is_empty() {
            return Ok(());
        }
        let message = format!("did not end within {patience:?}: {}", left.join(", "));
        Err(Error::new(ErrorKind::Timeout, message)
            .with_hint("what it leaves in the cluster is removed by the next build, or by a sweep, once its lease has run out"))
    }

    /// Does `work`, and then ends all that this builder and its clones have begun, as [`shutdown`](Self::shutdown) does. This
    /// happens even if `work` panics; then the panic goes on. A program whose runtime ends with a panic would leave what its builds have created to the next build or
    /// [`sweep`](Self::sweep).
    ///
    /// Returns what `work` does. What has not ended within `patience` is logged, as an event of `tracing`. With `panic = "abort"`, a panic ends the
    /// program at once, and nothing is cleaned up.
    ///
    /// ```no_run
    /// # async fn example(builder: garden_build::Builder, request: garden_build::BuildRequest) -> garden_build::Result<()> {
    /// let image = builder.shutdown_after(std::time::Duration::from_secs(10), async {
    ///     let image = builder.build(request).await?;
    ///     assert!(image.confirmed_by_registry); // if this panics, nothing is left
    ///     Ok::<_, garden_build::Error>(image)
    /// });
    /// println!("{}", image.await?.reference);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown_after<T>(&self, patience: Duration, work: impl Future<Output = T>) -> T {
        // What `work` has broken by its panic is not used any more: the panic goes on.
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        if let Err(error) = self.shutdown(patience).await {
            tracing::warn!(%error, "not all has ended");
        }
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Begins one of the verbs. `what` says what it does.
    pub(crate) fn begin<T, F>(
        &self,
        what: String,
        work: impl FnOnce(EventSink, CancellationToken) -> F,
    ) -> Operation<T>
    where
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.0.operations.begin(what, work)
    }

    /// Makes sure that `namespace`, which exists, has copies of the provider's `imagePullSecrets` and
    /// `copySecrets`, so that pods there can pull what was built: with the names of these Secrets in their
    /// `imagePullSecrets`, or in those of their service account. Tells what was done for each.
    ///
    /// Cheap to repeat: what is up to date is only read. A copy does not follow its Secret by itself, so
    /// call this again when a Secret changes, before each deployment say. Builds do not need it: what nodes need to pull a private builder's
    /// image, they copy themselves.
    ///
    /// A copy is labelled `app.kubernetes.io/managed-by: garden-build`, and its annotation `garden-build/copied-from` says of which Secret it is one.
    /// Nothing removes it but its namespace's end, or you.
    ///
    /// # Errors
    /// If a Secret does not exist or may not be read or written, or if `namespace` has another Secret of its
    /// name, which is never overwritten. The others are copied all the same.
    pub fn ensure_pull_secrets(&self, namespace: impl Into<String>) -> Operation<Vec<EnsuredSecret>> {
        let (inner, namespace) = (Arc::clone(&self.0), namespace.into());
        self.begin(format!("copy Secrets to Namespace {namespace}"), |events, cancel| async move {
            let (target, secrets) = (&inner.target, &inner.secrets);
            let ensuring = ensure_pull_secrets(target.cluster(), "imagePullSecrets", secrets, &namespace);
            let ensuring = target.reporting_silence(&events, ensuring);
            let message = "copying Secrets was cancelled: what is copied already stays";
            unless_cancelled(&cancel, message, ensuring).await
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.0.target
    }

    /// What builds need in the cluster besides builders.
    pub(crate) fn services(&self) -> Services {
        self.0.services.clone()
    }

    #[cfg(feature = "docker")]
    pub(crate) fn daemon(&self) -> Option<&ClusterDaemon> {
        self.0.daemon.as_ref()
    }

    /// The tags of build caches.
    pub(crate) fn cache_tags(&self) -> &BTreeSet<String> {
        &self.0.cache_tags
    }

    /// Removes what builds have left behind whose client died. With cluster-buildkit there is never anything to remove.
    ///
    /// Stops kaniko's context services and `BuildKit` daemons that nobody has used for as long as their users want them kept (the
    /// provider's `idleAfter`): in all namespaces where the user may list and change Deployments, if the user may list those of all
    /// namespaces, else in that of the builders. The next build starts them again. With the Docker modes there is nothing to stop.
    ///
    /// Every build with kaniko or cluster-buildkit does all this on its way, in the namespace of its builder.
    ///
    /// # Errors
    /// If the cluster refuses to list or delete.
    pub fn sweep(&self) -> Operation<SweepReport> {
        let inner = Arc::clone(&self.0);
        self.begin("sweep".to_owned(), |events, cancel| async move {
            let sweeping = inner.backend.sweep();
            let message = "the sweep was cancelled: what it has not removed by now is left for the next one";
            if inner.is_in_cluster {
                let sweeping = inner.target.reporting_silence(&events, sweeping);
                return unless_cancelled(&cancel, message, sweeping).await;
            }
            unless_cancelled(&cancel, message, sweeping).await
        })
    }
}

/// Does `work`, which may end anywhere, unless it is cancelled before.
pub(crate) async fn unless_cancelled<T, E: Into<Error>>(
    cancel: &CancellationToken,
    message: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    match cancel.run_until_cancelled(work).await {
        Some(done) => done.map_err(Into::into),
        None => Err(Error::new(ErrorKind::Cancelled, message)),
    }
}
