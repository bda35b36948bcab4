use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use garden_build_core::context::DigestCache;
use garden_build_core::{
    Backend, BuildContext, BuildJob, BuildRequest, Caveat, Error, ErrorKind, EventSink, LONGEST_ARGUMENT,
    Result, SweepReport, event_channel,
};
use garden_buildkit::BuildkitBackend;
use garden_cluster::{Cluster, EnsuredSecret, build_id, ensure_pull_secrets};
use garden_config::{BuildMode, Notice, ProviderConfig, ProviderKind, SecretRef};
use garden_docker::{ClusterDaemon, DaemonChoice, DockerDaemon};
use garden_kaniko::ContextService;
use tokio_util::sync::CancellationToken;

mod confirm;
mod find;
mod left_out;

use confirm::{Before, Confirmed};
use find::Prepared;

use crate::base_images::BaseImages;
use crate::init::Services;
use crate::mode::{self, Mode};
use crate::target::{Known, Target};
use crate::{Build, BuiltImage, Outcome, Plan, Status};

/// How often a build is begun whose builder gets lost.
const TRIES: usize = 3;

/// Builds images as a provider's configuration says. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Builder(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    backend: Arc<dyn Backend>,
    target: Target,
    /// The Docker daemon in the cluster, if it builds.
    daemon: Option<ClusterDaemon>,
    /// What hands contexts to builders, if something does.
    contexts: Option<ContextService>,
    /// What builds on the `BuildKit` daemon of a namespace, if it does.
    buildkit: Option<BuildkitBackend>,
    /// The Secrets that workloads may need.
    secrets: Vec<SecretRef>,
    /// What is to be installed in the cluster is installed by the build that needs it.
    installs: bool,
    /// The tags of build caches, which a clean-up keeps.
    cache_tags: BTreeSet<String>,
    /// Where the digests of files are kept from one build to the next.
    digests: DigestCache,
    base_images: BaseImages,
    notices: Vec<Notice>,
}

impl Builder {
    /// Connects to the cluster that `provider` names.
    ///
    /// # Errors
    /// If the configuration is incomplete or asks for what is not supported, or the kubeconfig
    /// cannot be used. The cluster itself is not asked yet.
    pub async fn connect(provider: ProviderConfig) -> Result<Self> {
        let cluster = Cluster::connect(&provider).await.map_err(|error| {
            let error = Error::from(error);
            // Whether it is the configuration itself, or what it names.
            match error.hint() {
                Some(_) => error,
                None => error.with_hint("set the provider's `kubeconfig` and `context`, or KUBECONFIG"),
            }
        })?;
        Self::new(provider, &cluster, DaemonChoice::Environment)
    }

    /// Uses a Kubernetes client that the caller has set up; the provider's `kubeconfig` and `context`
    /// then count for nothing.
    ///
    /// A client as kube makes it waits up to 40 ms with small messages (Nagle's algorithm), of which a build
    /// with `BuildKit` exchanges a few dozen; that of [`connect`](Self::connect) does not.
    ///
    /// # Errors
    /// If the configuration is incomplete or asks for what is not supported.
    pub fn with_client(provider: ProviderConfig, client: kube::Client) -> Result<Self> {
        Self::new(provider, &Cluster::new(client), DaemonChoice::Environment)
    }

    /// As [`with_client`](Self::with_client), and builds on `daemon` with the build mode local-docker, whatever daemon the environment
    /// names.
    ///
    /// # Errors
    /// If the configuration is incomplete or asks for what is not supported.
    pub fn with_docker(provider: ProviderConfig, client: kube::Client, daemon: DockerDaemon) -> Result<Self> {
        Self::new(provider, &Cluster::new(client), DaemonChoice::Daemon(daemon))
    }

    /// Builds with a backend of the caller's own; the provider's `buildMode` then counts for nothing.
    ///
    /// # Errors
    /// If the configuration is incomplete.
    pub fn with_backend(
        provider: ProviderConfig,
        client: kube::Client,
        backend: Arc<dyn Backend>,
    ) -> Result<Self> {
        provider.check()?;
        let target = Target::new(&provider, &Cluster::new(client), DaemonChoice::Environment)?;
        Ok(Self::from_parts(provider, target, Mode::of(backend)))
    }

    fn new(provider: ProviderConfig, cluster: &Cluster, daemon: DaemonChoice) -> Result<Self> {
        provider.check()?;
        let target = Target::new(&provider, cluster, daemon)?;
        let mode = mode::mode(&provider, cluster, &target)?;
        Ok(Self::from_parts(provider, target, mode))
    }

    fn from_parts(provider: ProviderConfig, target: Target, mode: Mode) -> Self {
        let Mode { backend, daemon, contexts, buildkit, bases } = mode;
        let installs = provider.kind == ProviderKind::LocalKubernetes;
        let cache_tags = match &provider.build_mode {
            BuildMode::ClusterBuildkit(options) => {
                options.cache.iter().map(|layer| layer.tag.clone()).collect()
            }
            _ => BTreeSet::new(),
        };
        let secrets = [provider.image_pull_secrets, provider.copy_secrets].concat();
        let notices = provider.notices;
        Self(Arc::new(Inner {
            backend,
            target,
            daemon,
            contexts,
            buildkit,
            secrets,
            installs,
            cache_tags,
            digests: DigestCache::of_user(),
            base_images: BaseImages::new(bases),
            notices,
        }))
    }

    /// Keeps the digests of files, by which an unchanged context is known without reading it, in `cache` instead of in
    /// the user's cache directory; with [`DigestCache::none`], nowhere.
    #[must_use]
    pub fn digest_cache(self, cache: DigestCache) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.digests = cache;
        Self(Arc::new(inner))
    }

    /// Keeps what is known of base images, by which Docker Hub is asked for a digest and not for a pull, in `directory` instead of
    /// in the user's cache directory (`garden-build/base-images` in `$XDG_CACHE_HOME` or `~/.cache`); with `None`, only as long as
    /// this builder lives. The directory is made when it is needed, and has to belong to the user alone.
    #[must_use]
    pub fn base_image_cache(self, directory: Option<PathBuf>) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.base_images.keep_in(directory);
        Self(Arc::new(inner))
    }

    /// Starts a build.
    ///
    /// # Errors
    /// If the build mode cannot do what the request asks for. Everything else is reported by the
    /// returned [`Build`].
    #[expect(clippy::unused_async, reason = "other modes have to ask the cluster before they accept")]
    pub async fn start(&self, request: BuildRequest) -> Result<Build> {
        let inner = Arc::clone(&self.0);
        mode::check(inner.backend.as_ref(), &request)?;
        let (events, stream) = event_channel();
        let cancel = CancellationToken::new();
        let cx = BuildContext::new(events, cancel.clone(), request.timeout);
        // In a box, as a whole build is a large future.
        Ok(Build::spawn(stream, cancel, async move { Box::pin(inner.build(request, &cx)).await }))
    }

    /// Builds an image and waits for it.
    ///
    /// # Errors
    /// If the image was not built and pushed; the [`Error`] says why and what to do.
    pub async fn build(&self, request: BuildRequest) -> Result<BuiltImage> {
        self.start(request).await?.await
    }

    /// Tells what a build would do. Changes nothing.
    ///
    /// # Errors
    /// If the context cannot be read or the registry cannot be asked.
    pub async fn status(&self, request: BuildRequest) -> Result<Status> {
        mode::check(self.0.backend.as_ref(), &request)?;
        self.0.target.registries.begin();
        let (events, _nobody) = event_channel();
        let (prepared, known) = self.0.find(request, false, &events, &CancellationToken::new()).await?;
        let existing = match known {
            Known::Exists(digest) => Some(digest),
            Known::Missing => None,
            Known::Unknown(error) => return Err(error),
        };
        Ok(Status { reference: prepared.reference, version: prepared.version, existing })
    }

    /// Returns everything that a build would create, with secrets redacted. Changes nothing and
    /// asks neither cluster nor registry. As it does not know what the `imagePullSecrets` hold, all of them are shown as copied to where the
    /// builder is, and named there; a build does so only with those that nodes need to pull the builder's own image.
    ///
    /// # Errors
    /// If the context cannot be read, or an option makes the build impossible.
    pub async fn plan(&self, request: BuildRequest) -> Result<Plan> {
        mode::check(self.0.backend.as_ref(), &request)?;
        let mut prepared = self.0.prepare(request, &CancellationToken::new()).await?;
        prepared.take_caveats()?;
        let job = self.0.job(prepared)?;
        let objects = self.0.backend.plan(&job)?;
        Ok(Plan { reference: job.destination, objects })
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
    pub async fn ensure_pull_secrets(&self, namespace: &str) -> Result<Vec<EnsuredSecret>> {
        Ok(ensure_pull_secrets(self.0.target.cluster(), "imagePullSecrets", &self.0.secrets, namespace)
            .await?)
    }

    pub(crate) fn target(&self) -> &Target {
        &self.0.target
    }

    /// What builds need in the cluster besides builders.
    pub(crate) fn services(&self) -> Services {
        self.0.services()
    }

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
    pub async fn sweep(&self) -> Result<SweepReport> {
        self.0.backend.sweep().await
    }
}

impl Inner {
    fn services(&self) -> Services {
        Services {
            registry: self.target.in_cluster().cloned(),
            daemon: self.daemon.clone(),
            contexts: self.contexts.clone(),
            buildkit: self.buildkit.clone(),
        }
    }

    fn job(&self, prepared: Prepared) -> Result<BuildJob> {
        let push_to = self.target.reached(&prepared.reference)?;
        let mut job = BuildJob::new(build_id(), prepared.request, prepared.context, prepared.reference);
        job.named_contexts = prepared.named_contexts;
        job.push_to = push_to;
        Ok(job)
    }

    /// The story of one build.
    async fn build(&self, request: BuildRequest, cx: &BuildContext) -> Result<BuiltImage> {
        let started = Instant::now();
        self.target.registries.begin();
        for notice in &self.notices {
            cx.events.warn(notice.message.clone(), notice.hint.clone());
        }
        if self.installs {
            cx.until_stopped(self.services().unless_installed(&cx.events, &cx.cancel)).await?;
        }
        let replaces = request.replaces();
        let (mut prepared, known) =
            cx.until_stopped(Box::pin(self.find(request, replaces, &cx.events, &cx.cancel))).await?;
        let (reference, image, outcome) = match known {
            Known::Exists(digest) => {
                (prepared.reference, Confirmed::by_registry(digest), Outcome::AlreadyExists)
            }
            Known::Missing | Known::Unknown(_) => {
                for Caveat { message, hint, .. } in prepared.take_caveats()? {
                    cx.events.warn(message, hint);
                }
                warn_of_oversized_arguments(&prepared.request, &cx.events);
                let job = self.job(prepared)?;
                let before = match known {
                    // Not looked for, as it does not count.
                    Known::Missing if replaces => Before::NotAsked,
                    Known::Missing => Before::Missing,
                    _ => Before::CannotBeAsked,
                };
                let (image, outcome) = self.build_missing(&job, before, cx).await?;
                (job.destination, image, outcome)
            }
        };
        let Confirmed { digest, by_registry } = image;
        Ok(BuiltImage {
            reference,
            digest,
            confirmed_by_registry: by_registry,
            outcome,
            duration: started.elapsed(),
        })
    }

    /// Builds, and begins again when the builder was lost: with its pod or its node. Begins again as well, however often,
    /// if the registry in the cluster was stopped while the build pushed to it, as it is for each collection. A
    /// build that failed is not repeated.
    async fn build_missing(
        &self,
        job: &BuildJob,
        mut before: Before,
        cx: &BuildContext,
    ) -> Result<(Confirmed, Outcome)> {
        let mut attempt = 1;
        let mut run = self.target.server_run().await?;
        loop {
            let error = match self.build_once(job, before, cx).await {
                Ok(built) => return Ok(built),
                Err(error) => error,
            };
            // It may have pushed something.
            before = before.again();
            // A builder that was evicted for a limit of its own would be once more.
            let lost = match error.kind() {
                ErrorKind::BuilderLost => true,
                ErrorKind::Evicted => error.is_retryable(),
                _ => false,
            };
            let pushed_meanwhile = *error.kind() == ErrorKind::PushFailed;
            // Registries with immutable tags refuse a version that somebody else has pushed
            // meanwhile, and a builder may be lost after it has pushed. It is the same version, so
            // both are success; unless the image was there before and was to be replaced.
            let may_exist = (lost || pushed_meanwhile) && !job.request.replaces();
            if may_exist
                && let Ok(Known::Exists(digest)) = self.target.look_up(&job.destination, &cx.events).await
            {
                return Ok((Confirmed::by_registry(digest), Outcome::AlreadyExists));
            }
            if cx.cancel.is_cancelled() {
                return Err(error);
            }
            if may_be_the_registry_s(&error)
                && let Some(next) =
                    cx.until_stopped(self.target.stopped_since(run.as_ref(), &cx.events)).await?
            {
                let message = format!(
                    "the registry was stopped during the build, so it begins again, with what was cached: {}",
                    error.message()
                );
                cx.events.warn(message, None);
                run = Some(next);
                continue;
            }
            if !lost || attempt == TRIES {
                return Err(error);
            }
            attempt += 1;
            cx.events.warn(format!("{}; building again, try {attempt} of {TRIES}", error.message()), None);
        }
    }
}

/// A RUN that is given one fails before its command begins, and only its shell says why.
fn warn_of_oversized_arguments(request: &BuildRequest, events: &EventSink) {
    for name in request.oversized_build_args() {
        let message = format!(
            "`buildArgs.{name}` is longer than the {LONGEST_ARGUMENT} bytes that Linux gives to a program, so no RUN can start in a stage \
             that declares it"
        );
        let hint =
            "put it into a file of the build context, which the Dockerfile copies, or into several arguments";
        events.warn(message, Some(hint.to_owned()));
    }
}

/// Whether a build may fail in this way because its registry did not answer, or had lost a part of an image. Base images may come from there, too.
fn may_be_the_registry_s(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PushFailed | ErrorKind::Unreachable | ErrorKind::NotFound)
}
