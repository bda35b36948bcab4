use std::convert::Infallible;
use std::sync::Arc;

use futures::future::BoxFuture;
use garden_build_core::{
    Backend, BuildControl, BuildJob, BuildRequest, Capabilities, Error, ErrorKind, EventSink, ImageFlag,
    PlannedObject, Pushed, Remedy, Result, StepKind, SweepReport, WarningCode,
};
use garden_cluster::{
    BUILDER_SERVICE_ACCOUNT, Cluster, RegistryCredentials, last_words, new_namespace, planned, stop_idle,
    stop_idle_in,
};
use k8s_openapi::api::core::v1::Secret;

use crate::cache;
use crate::client::{self, ClientError, DockerfileBuild, ImageExport, Solved};
use crate::daemon::{self, Daemon};
use crate::logins::PullSecretLogins;
use crate::route::{self, Unreached};
use crate::run::Run;
use crate::settings::Settings;
use crate::{failure, request, spec};

/// Builds with a `BuildKit` daemon in the project's namespace.
#[derive(Clone, Debug)]
pub struct BuildkitBackend {
    cluster: Cluster,
    settings: Settings,
    credentials: RegistryCredentials,
}

impl BuildkitBackend {
    /// Builds in `cluster`, as `settings` say, and answers the daemon from `credentials`.
    pub fn new(cluster: Cluster, settings: Settings, credentials: RegistryCredentials) -> Self {
        Self { cluster, settings, credentials }
    }

    /// Whether a `NetworkPolicy` is to say who may connect to the daemon's pods.
    pub fn wants_network_policy(&self) -> bool {
        self.settings.daemon.network_policies
    }

    /// Creates or changes the `NetworkPolicy` of the daemon's pods if there is to be one, which every build does as well. Else removes
    /// ours, which no build does; `events` hear of that.
    ///
    /// # Errors
    /// If the cluster refuses, cannot be reached, or has one of another program.
    pub async fn settle_network_policy(&self, events: &EventSink) -> Result<()> {
        let policy = daemon::policy(&self.cluster, &self.settings.daemon);
        // Not over another program's, and before there is anything of ours.
        policy.is_due().await?;
        if self.wants_network_policy() {
            self.cluster.ensure_namespace(&self.settings.daemon.namespace).await?;
            policy.apply().await?;
        }
        Ok(policy.remove_unwanted(events).await?)
    }

    /// The story of one build. It creates nothing that would have to be removed: the daemon stays for
    /// the next build, and stops this one when the connection ends.
    async fn build_on_daemon(&self, job: &BuildJob, cx: &BuildControl) -> Result<Pushed> {
        let wanted = build(&self.settings, job)?;
        let daemon = self.daemon(cx).await?;
        tokio::select! {
            built = Box::pin(self.build_with(job, cx, &daemon, wanted)) => built,
            never = self.keep_house(&cx.events) => match never {},
        }
    }

    /// Keeps the daemon in use, and stops those in its namespace that nobody uses. Never completes.
    async fn keep_house(&self, events: &EventSink) -> Infallible {
        let stop_idle_here = async {
            let now = self.cluster.server_time().await?;
            stop_idle_in(&self.cluster, self.namespace(), now).await
        };
        let stopping = async {
            match stop_idle_here.await {
                Ok(stopped) => tracing::debug!(?stopped, "stopped what nobody has used"),
                Err(error) => tracing::warn!(%error, "could not stop what nobody has used"),
            }
        };
        let managed = daemon::managed(&self.cluster, self.namespace());
        tokio::join!(managed.keep_in_use(events), stopping).0
    }

    /// Builds on `daemon`.
    async fn build_with(
        &self,
        job: &BuildJob,
        cx: &BuildControl,
        daemon: &Daemon,
        wanted: DockerfileBuild,
    ) -> Result<Pushed> {
        let failed = match Box::pin(self.attempt(job, cx, daemon, wanted.clone())).await {
            Ok(pushed) => return Ok(pushed),
            Err(failed) => failed,
        };
        // The image itself is pushed first, so it is the inline cache's name that was refused.
        let Some(without_cache) = wanted.without_inline_cache().filter(|_| failed.is_of_inline_cache) else {
            return Err(failed.error);
        };
        let hint = "`imagePullSecrets` needs write access to the registries of `clusterBuildkit.cache`, and \
                    their tags must not be immutable; a layer with `export: false` is not written";
        cx.events.warn(
            WarningCode::CacheUnusable,
            format!("the inline cache could not be written: {}", failed.error.message()),
            Some(hint.to_owned()),
        );
        let again = Box::pin(self.attempt(job, cx, daemon, without_cache)).await;
        again.map_err(|failed| failed.error)
    }

    /// Builds once, on `daemon`.
    async fn attempt(
        &self,
        job: &BuildJob,
        cx: &BuildControl,
        daemon: &Daemon,
        wanted: DockerfileBuild,
    ) -> Result<Pushed, Failed> {
        let caches = wanted.image.names().iter().skip(1).cloned().collect::<Vec<_>>();
        let (pod, events) = (&daemon.pod, &cx.events);
        let logins = PullSecretLogins::new(
            &self.cluster,
            &self.settings,
            &self.credentials,
            pod,
            events,
            job,
            &wanted,
        );
        let mut run = Run::new(job, Arc::new(logins), cx, failure::OF_NAMESPACE);

        let managed = daemon::managed(&self.cluster, self.namespace());
        let lost = managed.lost(&daemon.pod);
        tokio::pin!(lost);
        let building = async {
            let (settings, wanted_route) = (&self.settings.daemon, self.settings.route);
            let client = route::connect(&self.cluster, settings, wanted_route, daemon, &cx.events).await?;
            run.build(&client, wanted).await.map_err(Unreached::Client)
        };
        let failure = tokio::select! {
            biased;
            built = building => match built {
                Ok(solved) => return pushed(&solved, &run).map_err(Failed::from),
                Err(failure) => failure,
            },
            diagnosis = &mut lost => return Err(Failed::from(Error::from(diagnosis))),
        };
        run.finish();
        if let Some(error) = run.failed_here() {
            return Err(error.into());
        }
        match failure {
            Unreached::Client(ClientError::Failed(failure)) => {
                let is_of_inline_cache = failure::is_push_of(&failure, &caches);
                let error = run.explain(ClientError::Failed(failure));
                Err(Failed { error, is_of_inline_cache })
            }
            Unreached::Refused(error) if !failure::may_be_the_daemon_s_end(&error) => Err(error.into()),
            broken => Err(Failed::from(match last_words(lost).await {
                Some(diagnosis) => diagnosis.into(),
                None => match broken {
                    Unreached::Client(error) => run.explain(error),
                    Unreached::Refused(error) => failure::unreached(error),
                },
            })),
        }
    }

    /// Makes sure that a daemon runs.
    async fn daemon(&self, cx: &BuildControl) -> Result<Daemon> {
        let step = cx
            .events
            .step(StepKind::Prepare, format!("find the BuildKit daemon of Namespace {}", self.namespace()));
        let (settings, credentials) = (&self.settings.daemon, &self.credentials);
        let ensured = daemon::ensure(&self.cluster, settings, credentials, step.events()).await;
        step.end(ensured.map_err(Error::from))
    }

    fn namespace(&self) -> &str {
        &self.settings.daemon.namespace.name
    }
}

/// How an attempt ended that did not succeed.
struct Failed {
    error: Error,
    /// Only the cache within the image could not be pushed.
    is_of_inline_cache: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, is_of_inline_cache: false }
    }
}

impl Backend for BuildkitBackend {
    fn name(&self) -> &'static str {
        "cluster-buildkit"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_multiple_platforms(true)
            .with_named_contexts(true)
            .with_secrets(true)
            .with_ssh_agents(true)
            .skipping_unused_stages(true)
            .pulling_base_images(true)
    }

    fn accept(&self, request: &BuildRequest) -> Result<()> {
        let (field, what) = if !request.secrets.is_empty() {
            ("secrets", "read them")
        } else if !request.ssh_agents.is_empty() {
            ("sshAgents", "use them")
        } else {
            return Ok(());
        };
        if !self.settings.shows_secrets_to_others {
            return Ok(());
        }
        let message = format!(
            "`{field}`: on a rootless BuildKit daemon, RUN steps of other builds could {what} while this build runs"
        );
        let options = &[
            "clusterBuildkit.hostUsers",
            "clusterBuildkit.rootless",
            "clusterBuildkit.buildsTrustEachOther",
        ];
        let hint = "set `clusterBuildkit.hostUsers: false` in place of `rootless: true` if nodes support user namespaces for pods, leave out \
                    `rootless`, or set `clusterBuildkit.buildsTrustEachOther: true` if whoever builds in this namespace may do so";
        Err(Error::new(ErrorKind::Unsupported, message).with_hint(Remedy::set(options, hint)))
    }

    fn image_flags(&self, request: &BuildRequest) -> Result<Vec<ImageFlag>> {
        request::image_flags(request)
    }

    fn plan(&self, job: &BuildJob) -> Result<Vec<PlannedObject>> {
        let namespace = self.namespace();
        let daemon = &self.settings.daemon;
        let (pull_secrets, copies) = self.credentials.plan_for(namespace, &[&daemon.options.image])?;
        let daemon = &spec::Settings { pull_secrets, ..daemon.clone() };
        let mut objects = vec![PlannedObject::of(
            format!("Namespace {namespace}, unless it exists"),
            &new_namespace(&daemon.namespace),
        )?];
        objects.extend(copies);
        if let Some(claim) = spec::claim(daemon) {
            objects.push(PlannedObject::of(
                format!("PersistentVolumeClaim {namespace}/{}, unless it exists", spec::NAME),
                &claim,
            )?);
        }
        if daemon.options.listen {
            let secret = spec::tls_secret(daemon, daemon::certificates::redacted());
            let description = format!("Secret {namespace}/{}, unless it exists", spec::TLS_SECRET);
            objects.push(PlannedObject::of(description, &secret)?);
        }
        if daemon.proxies.have_credentials() {
            let keys = daemon.proxies.secret_data().into_keys();
            let secret = Secret {
                metadata: spec::proxy_secret(daemon, None),
                string_data: Some(keys.map(|key| (key, "<redacted>".to_owned())).collect()),
                ..Secret::default()
            };
            objects.push(PlannedObject::of(format!("Secret {namespace}/{}", spec::PROXY_SECRET), &secret)?);
        }
        if let Some(account) = spec::service_account(daemon) {
            let description = format!("ServiceAccount {namespace}/{BUILDER_SERVICE_ACCOUNT}");
            objects.push(PlannedObject::of(description, &account)?);
        }
        let config_map = spec::config_map(daemon, None);
        let name = config_map.metadata.name.clone().unwrap_or_default();
        objects
            .push(PlannedObject::of(format!("ConfigMap {namespace}/{name}, unless it exists"), &config_map)?);
        if let Some(policy) = daemon::policy(&self.cluster, daemon).wanted() {
            objects.push(PlannedObject::of(format!("NetworkPolicy {namespace}/{}", spec::NAME), policy)?);
        }
        let deployment = spec::deployment(daemon);
        objects
            .push(planned(format!("Deployment {namespace}/{}, unless it exists", spec::NAME), &deployment)?);
        let build = build(&self.settings, job)?;
        objects.push(PlannedObject::of(format!("build by Deployment {namespace}/{}", spec::NAME), &build)?);
        Ok(objects)
    }

    fn build<'a>(&'a self, job: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(cx.until_stopped(self.build_on_daemon(job, cx)))
    }

    /// Builds leave nothing behind here but daemons.
    fn sweep(&self) -> BoxFuture<'_, Result<SweepReport>> {
        Box::pin(async {
            let stopped = stop_idle(&self.cluster, self.namespace()).await?;
            Ok(SweepReport::default().with_stopped(stopped))
        })
    }
}

/// Returns the build that `job` asks for, as it is to be done in this mode.
fn build(settings: &Settings, job: &BuildJob) -> Result<DockerfileBuild> {
    let request = &job.request;
    let level = settings.compression_level;
    let cache = cache::plan(&settings.cache, &request.name, &settings.registry, level)?;
    let mut names = vec![job.push_to.to_string()];
    names.extend(cache.extra_names.iter().map(ToString::to_string));
    Ok(DockerfileBuild {
        cache_imports: cache.imports.into_iter().map(cache_entry).collect(),
        cache_exports: cache.exports.into_iter().map(cache_entry).collect(),
        image: ImageExport::Pushed { names, insecure: false, compression_level: Some(level) },
        attributes: request::options(&request.extra_flags)?,
        proxies: settings.daemon.proxies.variables().clone(),
        ..request::build(job)
    })
}

/// Puts a cache into the client's words. Not an implementation of `From`, which would show with the promised type.
fn cache_entry(entry: cache::CacheEntry) -> client::CacheEntry {
    let attributes = entry.attributes.into_iter();
    client::CacheEntry {
        kind: entry.kind.as_str().to_owned(),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

fn pushed(solved: &Solved, run: &Run) -> Result<Pushed> {
    let unreported =
        || Error::new(ErrorKind::Unexpected, "the daemon succeeded but did not report the image's digest");
    let image = solved.image.as_ref().ok_or_else(unreported)?;
    let digest = image.digest.parse().map_err(|error| unreported().with_source(error))?;
    let (cached, run) = run.counts();
    Ok(Pushed::new(digest, cached, run))
}
