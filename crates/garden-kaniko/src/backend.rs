use futures::future::BoxFuture;
use garden_build_core::{
    Backend, BuildContext, BuildJob, BuildRequest, Capabilities, PlannedObject, Pushed, Result, SweepReport,
};
use garden_cluster::{
    BUILDER_SERVICE_ACCOUNT, Cluster, Lease, Ownership, new_namespace, read_pull_secrets, sweep,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use secrecy::SecretString;

use crate::flags;
use crate::run::Run;
use crate::spec::{self, Settings};

/// The credential helpers that the executor's image has, all for clouds.
/// Source: kaniko, `deploy/Dockerfile`.
const HELPERS: [&str; 3] = ["acr-env", "ecr-login", "gcr"];

/// Builds each image in a pod of its own.
#[derive(Clone, Debug)]
pub struct KanikoBackend {
    cluster: Cluster,
    settings: Settings,
}

impl KanikoBackend {
    /// Builds in pods of `cluster`, as `settings` say.
    pub fn new(cluster: Cluster, settings: Settings) -> Self {
        Self { cluster, settings }
    }

    /// The story of one build.
    async fn build_in_pod(&self, job: &BuildJob, cx: &BuildContext) -> Result<Pushed> {
        let step = cx.events.step(format!("prepare Namespace {}", self.namespace()));
        let (lease, docker_config) = step.end(cx.until_stopped(self.prepare(job, cx)).await)?;
        // Not interrupted: an object whose creation is still under way cannot be deleted for sure.
        let created = self.create(job, &lease.ownership(), docker_config.as_ref()).await;
        let outcome = match created {
            Ok(()) => cx.until_stopped(Box::pin(self.run(job, cx, &lease))).await,
            Err(error) => Err(error),
        };
        self.remove(job, cx).await;
        outcome
    }

    /// Makes sure of the namespace, and reads the server's clock and the registry credentials. What a
    /// credential helper here knows is written out, as the executor has few helpers and other rights.
    async fn prepare(&self, job: &BuildJob, cx: &BuildContext) -> Result<(Lease, Option<SecretString>)> {
        let (namespace, lease, credentials) = tokio::join!(
            self.cluster.ensure_namespace(&self.settings.namespace),
            Lease::start(&self.cluster, &job.id),
            read_pull_secrets(&self.cluster, &self.settings.pull_secrets),
        );
        namespace?;
        let (lease, credentials) = (lease?, credentials?);
        if !self.settings.has_credentials() {
            return Ok((lease, None));
        }
        let names = names_in_use(job);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (docker_config, warnings) = credentials.to_docker_config_json(&names, &HELPERS).await;
        for warning in warnings {
            cx.events.warn(warning.to_string(), None);
        }
        Ok((lease, Some(docker_config)))
    }

    async fn create(
        &self,
        job: &BuildJob,
        ownership: &Ownership,
        docker_config: Option<&SecretString>,
    ) -> Result<()> {
        let pod = spec::pod(&self.settings, job, ownership)?;
        let secret = spec::secret(&self.settings, job, ownership, docker_config);
        if let Some(account) = spec::service_account(&self.settings) {
            self.cluster.apply(&account).await?;
        }
        if let Some(secret) = &secret {
            self.cluster.apply(secret).await?;
        }
        let pod = self.cluster.apply_pod(&pod).await?;
        if let Some(mut secret) = secret {
            spec::own_secret(&mut secret, &pod);
            self.cluster.apply(&secret).await?;
        }
        Ok(())
    }

    async fn run(&self, job: &BuildJob, cx: &BuildContext, lease: &Lease) -> Result<Pushed> {
        let name = spec::pod_name(job);
        let namespace = self.namespace();
        let sweeping = async {
            match sweep(&self.cluster, namespace).await {
                Ok(report) => tracing::debug!(removed = ?report.removed, "swept after builds that died"),
                Err(error) => tracing::warn!(%error, "could not sweep after builds that died"),
            }
        };
        let renewing = lease.keep_renewing(&self.cluster, namespace, &name);
        let housekeeping = async { tokio::join!(renewing, sweeping).0 };
        let run = Run { cluster: &self.cluster, namespace, name: &name, job, cx };
        tokio::select! {
            pushed = run.finish() => pushed,
            never = housekeeping => match never {},
        }
    }

    /// Removes what the build created. What this fails to remove is swept by a later build.
    async fn remove(&self, job: &BuildJob, cx: &BuildContext) {
        let (pod, secret) = (spec::pod_name(job), spec::secret_name(job));
        let namespace = self.namespace();
        let (pod_deleted, secret_deleted) =
            tokio::join!(self.cluster.delete::<Pod>(namespace, &pod), async {
                if self.settings.needs_secret() {
                    self.cluster.delete::<Secret>(namespace, &secret).await
                } else {
                    Ok(())
                }
            });
        if let Err(error) = pod_deleted.and(secret_deleted) {
            cx.events.warn(
                format!("not everything of the build could be removed: {error}"),
                Some("the next build in this namespace removes the rest".to_owned()),
            );
        }
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
        let mut capabilities = Capabilities::default();
        capabilities.pulls_base_images = true;
        capabilities
    }

    fn image_flags(&self, request: &BuildRequest) -> Result<Vec<String>> {
        let lists = [flags::parse(&request.extra_flags)?, flags::parse(&self.settings.options.extra_flags)?];
        Ok(flags::merge(&lists.map(flags::that_change_the_image)))
    }

    fn plan(&self, job: &BuildJob) -> Result<Vec<PlannedObject>> {
        // In place of a lease that has not begun.
        let ownership = Ownership { build: job.id.clone(), lease_expires: Timestamp::now() };
        let pod = spec::pod(&self.settings, job, &ownership)?;
        let secret = spec::secret(&self.settings, job, &ownership, None).map(|mut secret| {
            // Shown as text, not as base64: it is for reading.
            let keys = secret.data.take().unwrap_or_default().into_keys();
            secret.string_data = Some(keys.map(|key| (key, "<redacted>".to_owned())).collect());
            secret
        });
        let namespace = self.namespace();
        let description = format!("Namespace {namespace}, unless it exists");
        let mut objects = vec![PlannedObject::of(description, &new_namespace(&self.settings.namespace))?];
        if let Some(account) = spec::service_account(&self.settings) {
            let description = format!("ServiceAccount {namespace}/{BUILDER_SERVICE_ACCOUNT}");
            objects.push(PlannedObject::of(description, &account)?);
        }
        if let Some(secret) = secret {
            let description = format!("Secret {namespace}/{}", spec::secret_name(job));
            objects.push(PlannedObject::of(description, &secret)?);
        }
        objects.push(PlannedObject::of(format!("Pod {namespace}/{}", spec::pod_name(job)), &pod)?);
        Ok(objects)
    }

    fn build<'a>(&'a self, job: &'a BuildJob, cx: &'a BuildContext) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(self.build_in_pod(job, cx))
    }

    fn sweep(&self) -> BoxFuture<'_, Result<SweepReport>> {
        Box::pin(async { Ok(sweep(&self.cluster, self.namespace()).await?) })
    }
}

/// The registries and repositories that the executor will ask for, the image's own first. It looks
/// credentials up by exactly these names, and knows no wildcards.
fn names_in_use(job: &BuildJob) -> Vec<String> {
    let image = &job.push_to;
    let mut names = vec![image.registry().to_owned(), image.name(), format!("{}/cache", image.name())];
    for base in job.context.dockerfile().base_images() {
        names.extend([base.registry().to_owned(), base.name()]);
    }
    names
}
