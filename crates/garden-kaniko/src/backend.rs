use futures::future::BoxFuture;
use garden_build_core::context::Context;
use garden_build_core::{
    Backend, BuildControl, BuildJob, BuildRequest, Caches, Capabilities, Caveat, Error, ErrorKind, EventSink,
    ImageFlag, ImageReference, PlannedObject, Pushed, Result, StepKind, SweepReport, WarningCode,
};
use garden_cluster::{
    BUILDER_SERVICE_ACCOUNT, Cluster, EarlierBuild, Lease, Ownership, RegistryCredentials, new_namespace,
    planned, stop_idle, stop_idle_in, sweep,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use tracing::Instrument as _;

use crate::base_images;
use crate::earlier::{EarlierBuilds, Found};
use crate::flags;
use crate::run::Run;
use crate::service::{self, Announced, ContextService, Key};
use crate::spec::{self, Logins, Settings};
use crate::telemetry;
use crate::unknown;

/// The credential helpers that the executor's image has, all for clouds.
/// Source: kaniko, `deploy/Dockerfile`.
const HELPERS: [&str; 3] = ["acr-env", "ecr-login", "gcr"];

/// Builds each image in a pod of its own.
#[derive(Clone, Debug)]
pub struct KanikoBackend {
    cluster: Cluster,
    settings: Settings,
    credentials: RegistryCredentials,
    /// Where pods fetch their context, unless it is sent to each.
    service: Option<ContextService>,
}

/// What a build's objects are made of, besides the settings.
struct Prepared {
    lease: Lease,
    logins: Option<Logins>,
    fetch: Option<Fetch>,
}

/// What became of a build's pod that has not failed.
enum Attempt {
    /// The image is there.
    Pushed(Pushed),
    /// Another client's build of the same image was there before, so the pod was removed.
    CameSecond(EarlierBuild),
}

/// What to do about what a build has left.
const LEFT: &str = "the next build in this namespace removes it, or a sweep, once its lease has run out";

/// Why nothing is known of what a build has left.
const SILENT: &str = "the API server does not answer";

/// How the build's pod fetches its context.
struct Fetch {
    key: Key,
    address: String,
    announced: Announced,
}

impl KanikoBackend {
    /// Builds in pods of `cluster`, as `settings` say. Pods get `credentials`.
    pub fn new(cluster: Cluster, settings: Settings, credentials: RegistryCredentials) -> Self {
        let service = settings.service();
        let service =
            service.map(|settings| ContextService::new(cluster.clone(), settings, credentials.clone()));
        Self { cluster, settings, credentials, service }
    }

    /// Returns the context service that its builds use, if they do.
    pub fn context_service(&self) -> Option<&ContextService> {
        self.service.as_ref()
    }

    /// Builds in a pod of its own, unless another client builds the same image.
    async fn build_or_join(&self, job: &BuildJob, cx: &BuildControl) -> Result<Pushed> {
        let mut earlier = EarlierBuilds::new(&self.cluster, self.namespace(), job, cx);
        loop {
            match self.build_in_pod(job, cx, &earlier).await? {
                Attempt::Pushed(pushed) => return Ok(pushed),
                Attempt::CameSecond(build) => {
                    if let Some(image) = earlier.wait_for(build).await? {
                        return Ok(Pushed::by_another_build(image));
                    }
                }
            }
        }
    }

    /// The story of one pod.
    async fn build_in_pod(
        &self,
        job: &BuildJob,
        cx: &BuildControl,
        earlier: &EarlierBuilds<'_>,
    ) -> Result<Attempt> {
        let step = cx.events.step(StepKind::Prepare, format!("prepare Namespace {}", self.namespace()));
        let prepared = cx.until_stopped(Box::pin(self.prepare(job, cx, step.events()))).await;
        let prepared = step.end(prepared)?;
        let Prepared { lease, logins, fetch } = prepared;
        let (key, address) = fetch.as_ref().map(|fetch| (fetch.key.clone(), fetch.address.clone())).unzip();
        // Goes on by itself while the pod is created and starts.
        let upload = fetch.map(|fetch| fetch.announced.send(job.context.clone(), cx.events.clone()));
        // Not interrupted: an object whose creation is still under way cannot be deleted for sure.
        let ownership = lease.ownership();
        let creating = async {
            let pod = self.pod(job, cx, &ownership, logins.as_ref(), address.as_deref())?;
            Box::pin(self.create(job, &pod, &ownership, logins.as_ref(), key.as_ref(), earlier)).await
        };
        let outcome = match cx.within_grace(Box::pin(creating)).await.unwrap_or(Ok(Found::Nothing)) {
            Ok(Found::Nothing) => {
                let (namespace, name) = (self.namespace(), &spec::pod_name(job));
                let run = Run { cluster: &self.cluster, namespace, name, job, cx, upload, key };
                cx.until_stopped(Box::pin(self.run(run, &lease))).await.map(Attempt::Pushed)
            }
            Ok(Found::Image(image)) => Ok(Attempt::Pushed(Pushed::by_another_build(image))),
            Ok(Found::Build(build)) => Ok(Attempt::CameSecond(build)),
            Err(error) => Err(error),
        };
        match (self.remove(job, cx).await, outcome) {
            // Other troubles are in the last events.
            (Some(left), Err(error)) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => {
                let message = format!("{}; {left}", error.message());
                Err(Error::new(error.kind(), message).with_hint(LEFT))
            }
            (_, outcome) => outcome,
        }
    }

    /// Makes sure of the namespace or of the context service in it, and reads the server's clock and the registry
    /// credentials.
    async fn prepare(&self, job: &BuildJob, cx: &BuildControl, events: &EventSink) -> Result<Prepared> {
        let fetch = async {
            if let Some(service) = &self.service {
                return self.announce(service, events, &cx.caches).await.map(Some);
            }
            self.cluster.ensure_namespace(&self.settings.namespace).await?;
            Ok(None)
        };
        let (fetch, lease, logins) =
            tokio::join!(fetch, Lease::start(&self.cluster, &job.id), self.logins(job, cx));
        Ok(Prepared { fetch: fetch?, lease: lease?, logins: logins? })
    }

    /// Finds the context service, and tells it of the pod that is to come.
    async fn announce(&self, service: &ContextService, events: &EventSink, caches: &Caches) -> Result<Fetch> {
        let found = service.find(events).await?;
        if found.differs {
            events.log("the context service has other settings than this project's, which installing it again (`init`) would apply");
        }
        let address = found.pod.address.map(|address| address.to_string()).unwrap_or_default();
        let key = Key::random();
        let announced = service.announce(found, key.clone(), caches).await?;
        Ok(Fetch { key, address, announced })
    }

    /// Reads the registry credentials, and takes those that the build needs. What a credential helper here knows is written out, as the
    /// executor has few helpers and other rights.
    async fn logins(&self, job: &BuildJob, cx: &BuildControl) -> Result<Option<Logins>> {
        if !self.settings.has_credentials {
            return Ok(None);
        }
        // The executor keeps them for its whole run.
        let credentials = self.credentials.read_for_builder().await?;
        let names = self.names_in_use(job)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (builder, warnings) = credentials.to_docker_config_json(&names, &HELPERS).await;
        for warning in warnings {
            cx.events.warn(WarningCode::CredentialsUnusable, warning.to_string(), None);
        }
        // If this is not the name of an image, the node reports it.
        let image = self.settings.options.image.parse::<ImageReference>().ok();
        let image = image.filter(|image| credentials.have_password(image.registry(), image.repository()));
        let node = image.map(|image| credentials.to_node_config_json(image.registry(), image.repository()));
        Ok(Some(Logins { builder, node }))
    }

    /// The registries and repositories that the executor will ask for, the image's own first. It looks
    /// credentials up by exactly these names, and knows no wildcards.
    fn names_in_use(&self, job: &BuildJob) -> Result<Vec<String>> {
        let (target, flags) = (&self.settings.target, &self.settings.options.extra_flags);
        let image = &job.push_to;
        let mut names = vec![image.registry().to_owned(), image.name()];
        names.extend(base_images::cache_repository(&image.name(), flags, &job.request)?);
        let sources = base_images::image_sources(target, flags, &job.request)?;
        for image in job.context.dockerfile().images(&job.request) {
            for (_, image) in sources.of(&image) {
                names.extend([image.registry().to_owned(), image.name()]);
            }
        }
        Ok(names)
    }

    /// Returns the build's pod. `address` is where it fetches its context.
    fn pod(
        &self,
        job: &BuildJob,
        cx: &BuildControl,
        ownership: &Ownership,
        logins: Option<&Logins>,
        address: Option<&str>,
    ) -> Result<Pod> {
        let mut pod = spec::pod(&self.settings, job, ownership, address)?;
        telemetry::send(&mut pod, self.settings.traces_url.as_deref(), job, cx.trace_context.as_ref());
        if logins.is_some_and(|logins| logins.node.is_none()) {
            spec::pull_without_secret(&mut pod);
        }
        Ok(pod)
    }

    /// Creates the build's objects, and looks meanwhile whether it is needed.
    async fn create(
        &self,
        job: &BuildJob,
        pod: &Pod,
        ownership: &Ownership,
        logins: Option<&Logins>,
        key: Option<&Key>,
        earlier: &EarlierBuilds<'_>,
    ) -> Result<Found> {
        if let Some(account) = spec::service_account(&self.settings) {
            self.cluster.apply(&account).await?;
        }
        // The pod first, as it owns the secret: so there is never one that nobody owns, and nobody needs the right to look for
        // such. Until the pod has a node that looks for its secret, this is there; if it comes later, the node looks again.
        let pod = self.cluster.apply_pod(pod, &spec::REMEDIES).await?;
        let secret = async {
            if let Some(mut secret) = spec::secret(&self.settings, job, ownership, logins, key) {
                spec::own_secret(&mut secret, &pod);
                self.cluster.apply(&secret).await?;
            }
            Ok::<_, Error>(())
        };
        let (secret, found) = tokio::join!(secret, earlier.look(&pod));
        secret.map(|()| found)
    }

    async fn run(&self, run: Run<'_>, lease: &Lease) -> Result<Pushed> {
        let (namespace, name, events) = (run.namespace, run.name, &run.cx.events);
        let sweeping = async {
            match sweep(&self.cluster, namespace).await {
                Ok(report) => tracing::debug!(removed = ?report.removed, "swept after builds that died"),
                Err(error) => tracing::warn!(%error, "could not sweep after builds that died"),
            }
            match stop_idle_in(&self.cluster, namespace, lease.now()).await {
                Ok(stopped) => tracing::debug!(?stopped, "stopped what nobody has used"),
                Err(error) => tracing::warn!(%error, "could not stop what nobody has used"),
            }
        };
        let keeping = async {
            match &self.service {
                Some(service) => service.keep_in_use(events).await,
                None => std::future::pending().await,
            }
        };
        let renewing = lease.keep_renewing(&self.cluster, namespace, name, events);
        let housekeeping = async { tokio::join!(renewing, keeping, sweeping).0 };
        tokio::select! {
            pushed = run.finish() => match pushed {
                Ok(pushed) => Ok(pushed),
                Err(error) => Err(lease.explain(&self.cluster, namespace, name, error).await),
            },
            never = housekeeping => match never {},
        }
    }

    /// Removes what the build created, and returns what may be left. A build that has to stop does not wait long for a silent API server: the removal
    /// then goes on by itself.
    async fn remove(&self, job: &BuildJob, cx: &BuildControl) -> Option<String> {
        let (cluster, namespace) = (self.cluster.clone(), self.namespace().to_owned());
        let (pod, secret) = (spec::pod_name(job), spec::secret_name(job));
        let needs_secret = self.settings.needs_secret();
        let objects = [("Pod", format!("{namespace}/{pod}")), ("Secret", format!("{namespace}/{secret}"))];
        let objects = &objects[..if needs_secret { 2 } else { 1 }];
        let step =
            cx.events.step(StepKind::CleanUp, format!("remove Pod {namespace}/{pod} and what belongs to it"));
        let removing = async move {
            let secret_deleted = async {
                if needs_secret { cluster.delete::<Secret>(&namespace, &secret).await } else { Ok(()) }
            };
            let (pod_deleted, secret_deleted) =
                tokio::join!(cluster.delete::<Pod>(&namespace, &pod), secret_deleted);
            [pod_deleted.err(), secret_deleted.err()].map(|error| error.map(|error| error.to_string()))
        };
        let removal = tokio::spawn(removing.in_current_span());
        let why = match cx.within_grace(removal).await {
            Some(Ok(why)) => why,
            Some(Err(error)) => [Some(error.to_string()), Some(error.to_string())],
            None => [Some(SILENT.to_owned()), Some(SILENT.to_owned())],
        };
        let mut left = Vec::new();
        for ((kind, name), why) in objects.iter().zip(why) {
            if let Some(why) = why {
                let object = format!("{kind} {name}");
                let message = format!("{object} could not be removed: {why}");
                step.events().warn(WarningCode::NotRemoved, message, Some(LEFT.to_owned()));
                left.push(object);
            }
        }
        if left.is_empty() {
            step.done();
            return None;
        }
        let left = format!("{} may be left", left.join(" and "));
        step.failed(left.clone());
        Some(left)
    }

    fn namespace(&self) -> &str {
        &self.settings.namespace.name
    }
}

impl Backend for KanikoBackend {
    fn name(&self) -> &'static str {
        "kaniko"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().pulling_base_images(true)
    }

    fn image_flags(&self, request: &BuildRequest) -> Result<Vec<ImageFlag>> {
        spec::check_lengths(request)?;
        let lists = [flags::parse(&request.extra_flags)?, flags::parse(&self.settings.options.extra_flags)?];
        Ok(flags::image_flags(&lists))
    }

    fn check(&self, request: &BuildRequest, context: &Context) -> Result<Vec<Caveat>> {
        unknown::judge(&self.settings.options, request, context)
    }

    fn plan(&self, job: &BuildJob) -> Result<Vec<PlannedObject>> {
        // Stands for a lease that has not begun.
        let ownership = Ownership { build: job.id.clone(), lease_expires: Timestamp::now() };
        let address = self.service.is_some().then_some("<address of the context service>");
        let mut pod = spec::pod(&self.settings, job, &ownership, address)?;
        telemetry::send(&mut pod, self.settings.traces_url.as_deref(), job, None);
        let key = self.service.is_some().then(Key::random);
        let secret = spec::secret(&self.settings, job, &ownership, None, key.as_ref()).map(|mut secret| {
            // Shown as text, not as base64: it is for reading.
            let keys = secret.data.take().unwrap_or_default().into_keys();
            secret.string_data = Some(keys.map(|key| (key, "<redacted>".to_owned())).collect());
            secret
        });
        let namespace = self.namespace();
        let description = format!("Namespace {namespace}, unless it exists");
        let mut objects = vec![PlannedObject::of(description, &new_namespace(&self.settings.namespace))?];
        if let Some(settings) = self.settings.service() {
            let name = service::NAME;
            let (pull_secrets, copies) = self.credentials.plan_for(namespace, &[&settings.image])?;
            objects.extend(copies);
            if let Some(claim) = service::claim(&settings) {
                let description = format!("PersistentVolumeClaim {namespace}/{name}, unless it exists");
                objects.push(PlannedObject::of(description, &claim)?);
            }
            if let Some(policy) = self.service.as_ref().map(ContextService::policy)
                && let Some(policy) = policy.wanted()
            {
                let description = format!("NetworkPolicy {namespace}/{name}, unless the Deployment exists");
                objects.push(PlannedObject::of(description, policy)?);
            }
            let description = format!("Deployment {namespace}/{name}, unless it exists");
            objects.push(planned(description, &service::deployment(&settings, &pull_secrets))?);
        }
        if let Some(account) = spec::service_account(&self.settings) {
            let description = format!("ServiceAccount {namespace}/{BUILDER_SERVICE_ACCOUNT}");
            objects.push(PlannedObject::of(description, &account)?);
        }
        if let Some(secret) = secret {
            let description = format!("Secret {namespace}/{}", spec::secret_name(job));
            objects.push(PlannedObject::of(description, &secret)?);
        }
        objects.push(planned(format!("Pod {namespace}/{}", spec::pod_name(job)), &pod)?);
        Ok(objects)
    }

    fn build<'a>(&'a self, job: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(self.build_or_join(job, cx))
    }

    fn sweep(&self) -> BoxFuture<'_, Result<SweepReport>> {
        Box::pin(async {
            let (swept, stopped) = tokio::join!(
                sweep(&self.cluster, self.namespace()),
                stop_idle(&self.cluster, self.namespace())
            );
            Ok(swept?.with_stopped(stopped?))
        })
    }
}
