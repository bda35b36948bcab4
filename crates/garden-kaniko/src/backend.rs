use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use garden_build_core::{
    Backend, BuildContext, BuildJob, Capabilities, Digest, Error, ErrorKind, PlannedObject, Pushed, Result, SweepReport,
};
use garden_cluster::{BuildPod, Cluster, Lease, Ownership, PodEnd, StdinUpload, follow_log, read_pull_secrets, sweep};
use garden_config::{Namespace, SecretRef};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::flags::FlagError;
use crate::progress::Progress;
use crate::spec::{self, Settings};
use crate::failure;

/// How long creating or deleting a few objects may take; kube's own retries would go on for minutes.
const API_PATIENCE: Duration = Duration::from_secs(30);

/// How long the rest of the log may take once the container has ended.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// How long a container whose stdin broke gets to tell why.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(10);

/// Builds each image in a pod of its own.
#[derive(Clone, Debug)]
pub struct KanikoBackend {
    cluster: Cluster,
    settings: Settings,
    namespace: Namespace,
    pull_secrets: Vec<SecretRef>,
}

impl KanikoBackend {
    /// Builds in pods of `cluster`, in `namespace`, with the registry credentials of `pull_secrets`.
    pub fn new(cluster: Cluster, settings: Settings, namespace: Namespace, pull_secrets: Vec<SecretRef>) -> Self {
        Self { cluster, settings, namespace, pull_secrets }
    }

    /// The story of one build.
    async fn build_in_pod(&self, job: &BuildJob, cx: &BuildContext) -> Result<Pushed> {
        // What can be refused without the cluster is refused before it is asked for anything.
        spec::pod(&self.settings, job, &self.planned_ownership(job), self.has_credentials()).map_err(flag_error)?;

        let step = cx.events.step(format!("prepare Namespace {}", self.namespace.name));
        let (lease, docker_config) = step.end(until_stopped(cx, self.prepare(job)).await)?;
        // Not interrupted: an object whose creation is still under way cannot be deleted for sure.
        let created = self.create(job, &lease.ownership(), docker_config.as_ref()).await;
        let outcome = match created {
            Ok(()) => until_stopped(cx, self.run(job, cx, &lease)).await,
            Err(error) => Err(error),
        };
        self.remove(job, cx).await;
        outcome
    }

    /// Makes sure of the namespace, and reads the server's clock and the registry credentials.
    async fn prepare(&self, job: &BuildJob) -> Result<(Lease, Option<SecretString>)> {
        let (namespace, lease, credentials) = tokio::join!(
            self.cluster.ensure_namespace(&self.namespace),
            Lease::start(&self.cluster, &job.id),
            read_pull_secrets(&self.cluster, &self.pull_secrets),
        );
        namespace?;
        let credentials = credentials?;
        let docker_config =
            self.has_credentials().then(|| credentials.to_docker_config_json(&[job.destination.registry()]));
        Ok((lease?, docker_config))
    }

    async fn create(
        &self,
        job: &BuildJob,
        ownership: &Ownership,
        docker_config: Option<&SecretString>,
    ) -> Result<()> {
        let pod = spec::pod(&self.settings, job, ownership, docker_config.is_some()).map_err(flag_error)?;
        let secret = spec::secret(&self.settings, job, ownership, docker_config);
        let creating = async {
            if let Some(secret) = &secret {
                self.cluster.apply(secret).await?;
            }
            let pod = self.cluster.apply_pod(&pod).await?;
            if let Some(mut secret) = secret {
                spec::own_secret(&mut secret, &pod);
                self.cluster.apply(&secret).await?;
            }
            Ok(())
        };
        timeout(API_PATIENCE, creating).await.unwrap_or_else(|_| {
            let message = format!("the cluster did not create Pod {} in {} s", spec::pod_name(job), API_PATIENCE.as_secs());
            Err(Error::new(ErrorKind::Unreachable, message).retryable())
        })
    }

    async fn run(&self, job: &BuildJob, cx: &BuildContext, lease: &Lease) -> Result<Pushed> {
        let name = spec::pod_name(job);
        let namespace = &self.namespace.name;
        let sweeping = async {
            match sweep(&self.cluster, namespace).await {
                Ok(report) if report.removed.is_empty() => {}
                Ok(report) => tracing::info!(removed = ?report.removed, "swept what dead builds had left behind"),
                Err(error) => tracing::warn!(%error, "could not sweep what dead builds may have left behind"),
            }
            lease.keep_renewing(&self.cluster, namespace, &name).await
        };
        tokio::select! {
            pushed = self.drive(job, cx, &name) => pushed,
            never = sweeping => match never {},
        }
    }

    async fn drive(&self, job: &BuildJob, cx: &BuildContext, name: &str) -> Result<Pushed> {
        let namespace = &self.namespace.name;
        let mut pod = BuildPod::watch(&self.cluster, namespace, name, spec::CONTAINER);

        let step = cx.events.step(format!("start Pod {namespace}/{name}"));
        let waited = pod.started(|what| step.log(garden_build_core::Stream::Builder, format!("waiting for {what}")));
        let started = waited.await.map_err(Error::from);
        step.end(started)?;

        let mut progress = Progress::new(cx.events.clone(), &job.destination);
        let container_ended = CancellationToken::new();
        let log = async {
            tokio::select! {
                () = follow_log(&self.cluster, namespace, name, spec::CONTAINER, &container_ended, |line| progress.line(line)) => {}
                () = async { container_ended.cancelled().await; tokio::time::sleep(LOG_PATIENCE).await } => {}
            }
        };
        let building = async {
            let end = self.feed(job, cx, &mut pod, name).await;
            container_ended.cancel();
            end
        };
        let (end, ()) = tokio::join!(building, log);
        judge(end, &mut progress)
    }

    /// Streams the context into the pod, and waits for the pod to end.
    async fn feed(&self, job: &BuildJob, cx: &BuildContext, pod: &mut BuildPod, name: &str) -> Result<PodEnd> {
        let error = tokio::select! {
            end = pod.ended() => return Ok(end?),
            error = self.upload(job, cx, name) => error,
        };
        if *error.kind() == ErrorKind::Context {
            return Err(error);
        }
        // A broken pipe is often only the echo of why the container ended.
        match timeout(LAST_WORDS_PATIENCE, pod.ended()).await {
            Ok(end) => Ok(end?),
            Err(_) => Err(error),
        }
    }

    /// Returns only if the context could not be sent; else holds the connection.
    async fn upload(&self, job: &BuildJob, cx: &BuildContext, name: &str) -> Error {
        let manifest = job.context.manifest();
        let step = cx.events.step(format!(
            "send the build context ({} files, {} bytes)",
            manifest.file_count(),
            manifest.total_bytes()
        ));
        let read = Arc::new(AtomicU64::new(0));
        let stream = Delivery::of(&job.context).stream(Arc::clone(&read));
        let report = || step.progress(read.load(Ordering::Relaxed), Some(manifest.total_bytes()));
        let sent = async {
            let upload = StdinUpload::open(&self.cluster, &self.namespace.name, name, spec::CONTAINER).await?;
            upload.send(stream, report).await
        };
        match sent.await {
            Ok(uploaded) => {
                step.done();
                match uploaded.hold().await {}
            }
            Err(error) => {
                let error: Error = error;
                step.failed(error.message());
                error
            }
        }
    }

    /// Removes what the build created. The cluster's own rules remove what this fails to.
    async fn remove(&self, job: &BuildJob, cx: &BuildContext) {
        let (pod, secret) = (spec::pod_name(job), spec::secret_name(job));
        let namespace = &self.namespace.name;
        let has_secret = self.has_credentials() || self.settings.registry_ca.is_some();
        let deleting = async {
            let pod = self.cluster.delete::<Pod>(namespace, &pod);
            let secret = async {
                if has_secret { self.cluster.delete::<Secret>(namespace, &secret).await } else { Ok(()) }
            };
            let (pod, secret) = tokio::join!(pod, secret);
            pod.and(secret)
        };
        let problem = match timeout(API_PATIENCE, deleting).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the cluster did not answer".to_owned(),
        };
        cx.events.warn(
            format!("Pod {namespace}/{pod} could not be deleted: {problem}"),
            Some("the next build in this namespace will remove it".to_owned()),
        );
    }

    fn has_credentials(&self) -> bool {
        !self.pull_secrets.is_empty()
    }

    fn planned_ownership(&self, job: &BuildJob) -> Ownership {
        Ownership { build: job.id.clone(), lease_expires: Timestamp::now() }
    }
}

impl Backend for KanikoBackend {
    fn name(&self) -> &'static str {
        "kaniko"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn plan(&self, job: &BuildJob) -> Result<Vec<PlannedObject>> {
        let ownership = self.planned_ownership(job);
        let redacted = SecretString::from("<redacted>");
        let config = self.has_credentials().then_some(&redacted);
        let pod = spec::pod(&self.settings, job, &ownership, config.is_some()).map_err(flag_error)?;
        let secret = spec::secret(&self.settings, job, &ownership, config).map(|mut secret| {
            // Shown as text, not as base64: it is for reading.
            let keys = secret.data.take().unwrap_or_default().into_keys();
            secret.string_data = Some(keys.map(|key| (key, "<redacted>".to_owned())).collect());
            secret
        });
        let described = |description: String, object: serde_json::Result<serde_json::Value>| {
            object.map(|object| PlannedObject::new(description, object)).map_err(|error| {
                Error::new(ErrorKind::Unexpected, "a planned object cannot be shown").with_source(error)
            })
        };
        let namespace = &self.namespace.name;
        let mut objects = Vec::new();
        if let Some(secret) = secret {
            let description = format!("Secret {namespace}/{}", spec::secret_name(job));
            objects.push(described(description, serde_json::to_value(secret))?);
        }
        objects.push(described(format!("Pod {namespace}/{}", spec::pod_name(job)), serde_json::to_value(pod))?);
        Ok(objects)
    }

    fn build<'a>(&'a self, job: &'a BuildJob, cx: &'a BuildContext) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(self.build_in_pod(job, cx))
    }

    fn sweep(&self) -> BoxFuture<'_, Result<SweepReport>> {
        Box::pin(async { Ok(sweep(&self.cluster, &self.namespace.name).await?) })
    }
}

/// Runs `work` unless the build has to stop before.
async fn until_stopped<T>(cx: &BuildContext, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        error = cx.stopped() => Err(error),
        outcome = work => outcome,
    }
}

/// Says what the pod's end means for the build.
fn judge(end: Result<PodEnd>, progress: &mut Progress) -> Result<Pushed> {
    let outcome = match end {
        Ok(PodEnd { exit_code: 0, message }) => pushed(&message, progress),
        Ok(PodEnd { exit_code, .. }) => Err(failure::explain(exit_code, progress.instruction(), progress.tail())),
        Err(error) if error.log_tail().is_empty() => Err(error.with_log_tail(progress.tail().to_vec())),
        Err(error) => Err(error),
    };
    progress.end(outcome.as_ref().err().map(Error::message));
    outcome
}

/// The executor overwrites its digest file at every push of a cached layer too, but pushes the
/// image last: what an executor that succeeded left there is the image's digest.
fn pushed(message: &str, progress: &Progress) -> Result<Pushed> {
    let digest: Digest = message.trim().parse().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the executor succeeded but did not report the image's digest")
            .with_hint("check that the image of `kaniko.image` is a kaniko executor")
            .with_source(error)
    })?;
    let (cached, run) = progress.counts();
    Ok(Pushed::new(digest, cached, run))
}

fn flag_error(error: FlagError) -> Error {
    Error::new(ErrorKind::Config, error.to_string())
}
