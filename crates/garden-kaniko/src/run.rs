//! One pod, from its creation to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use garden_build_core::{
    BuildControl, BuildJob, Digest, Error, ErrorKind, LogSource, Pushed, Remedy, Result, StepKind,
    WarningCode,
};
use garden_cluster::{BuildPod, Cluster, LAST_WORDS_PATIENCE, PodEnd, PodStream, follow_log, last_words};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::ending::Ending;
use crate::progress::Progress;
use crate::service::{Key, Stage, Upload};
use crate::{failure, spec};

/// How long a pod that runs may take to reach the context service.
const FETCH_PATIENCE: Duration = Duration::from_secs(20);

/// The build's pod, which was created just now.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) job: &'a BuildJob,
    pub(crate) cx: &'a BuildControl,
    /// What brings the context to where the pod fetches it; without, it is sent to the pod.
    pub(crate) upload: Option<Upload>,
    /// The key that the pod has.
    pub(crate) key: Option<Key>,
}

impl Run<'_> {
    /// Waits for the pod to start, feeds it the context, reports what it says, and judges its end.
    pub(crate) async fn finish(mut self) -> Result<Pushed> {
        let mut upload = self.upload.take();
        let mut pod =
            BuildPod::watch(self.cluster, self.namespace, self.name, spec::CONTAINER, &spec::REMEDIES);
        let step = self.cx.events.step(StepKind::Wait, format!("start Pod {}/{}", self.namespace, self.name));
        let started = tokio::select! {
            started = pod.started(|what| step.log(LogSource::Builder, format!("waiting for {what}"))) => {
                started.map_err(Error::from)
            }
            error = failed(upload.as_mut()) => Err(error),
        };
        step.end(started)?;

        let mut progress = Progress::new(self.cx.events.clone(), &self.job.push_to);
        let container_ended = CancellationToken::new();
        let (hint, hinted) = oneshot::channel();
        let outcome = {
            let ended = async {
                let following = async {
                    let end = self.follow(&mut pod, upload.as_mut()).await;
                    container_ended.cancel();
                    end
                };
                tokio::join!(following, self.read_log(&container_ended, &mut progress, hint)).0
            };
            tokio::select! {
                end = ended => end.map(Ended::ByCluster),
                image = self.arrived(hinted) => Ok(Ended::ByRegistry(image)),
            }
        };
        let mut outcome = judge(outcome, &progress);
        if let Err(error) = &mut outcome
            && failure::service_broke_off(&progress)
            // The pod only knows that it did not get everything. If it is our connection that broke, that is the cause; it
            // takes as long again to learn whether the service has died.
            && let Some(upload) = upload.as_mut()
            && let Ok(Some(cause)) = timeout(2 * LAST_WORDS_PATIENCE, upload.failure()).await
        {
            *error = cause.with_log_tail(progress.tail().to_vec());
        }
        if outcome.is_err()
            && failure::context_was_altered(&progress)
            && let Some(upload) = &upload
        {
            // The next try sends again what is in them.
            upload.distrust();
        }
        progress.end(outcome.as_ref().err().map(Error::message));
        outcome
    }

    /// Reads the log to its end. Gives a `hint` of the image's digest once the pod has said that it has succeeded.
    async fn read_log(
        &self,
        container_ended: &CancellationToken,
        progress: &mut Progress,
        hint: oneshot::Sender<Digest>,
    ) {
        let (namespace, name) = (self.namespace, self.name);
        let (mut ending, mut hint) = (Ending::new(self.key.clone()), Some(hint));
        let read = follow_log(self.cluster, namespace, name, spec::CONTAINER, container_ended, |line| {
            if let Some(line) = ending.line(line) {
                progress.line(line);
            }
            if let Some(image) = ending.image()
                && let Some(hint) = hint.take()
            {
                // If the build has ended, nobody needs it.
                let _ = hint.send(image);
            }
        });
        if !read.await && !self.cx.cancel.is_cancelled() {
            let message = format!("the end of the log of Pod {namespace}/{name} could not be read");
            self.cx.events.warn(WarningCode::LogIncomplete, message, None);
        }
    }

    /// Completes when the registry shows the image that the pod is said to have pushed: then there is no need to wait for the cluster, which
    /// notices the end of a container up to a second late. Anything that runs in the pod can say it, so by itself it is worth
    /// nothing, and what the registry does not show is left to the cluster.
    async fn arrived(&self, hinted: oneshot::Receiver<Digest>) -> Digest {
        match hinted.await {
            Ok(image) if self.cx.is_witnessed(image).await => image,
            _ => std::future::pending().await,
        }
    }

    /// Sees to it that the pod gets its context, and waits for the pod to end.
    async fn follow(&self, pod: &mut BuildPod, upload: Option<&mut Upload>) -> Result<PodEnd> {
        let Some(upload) = upload else { return self.feed(pod).await };
        let stage = upload.stage();
        tokio::select! {
            biased;
            end = pod.ended() => Ok(end?),
            error = upload.failed() => Err(error),
            error = self.not_fetched(stage) => Err(error),
        }
    }

    /// Completes if the pod, which runs, does not come for its context, and says so.
    async fn not_fetched(&self, mut stage: watch::Receiver<Stage>) -> Error {
        let mut reached = async |wanted: Stage| stage.wait_for(|stage| *stage >= wanted).await.is_ok();
        // If the upload has ended, it says itself why.
        let waits = reached(Stage::Waiting).await;
        let is_late = timeout(FETCH_PATIENCE, reached(Stage::Pulling)).await.is_err();
        if !waits || !is_late {
            std::future::pending::<()>().await;
        }
        failure::not_fetched(self.namespace, self.name, FETCH_PATIENCE)
    }

    /// Streams the context into the pod, and waits for the pod to end.
    async fn feed(&self, pod: &mut BuildPod) -> Result<PodEnd> {
        let error = tokio::select! {
            end = pod.ended() => return Ok(end?),
            error = self.upload() => error,
        };
        if error.kind() == ErrorKind::Context {
            return Err(error);
        }
        // A broken pipe is often only the echo of why the container ended.
        match last_words(pod.ended()).await {
            Some(end) => Ok(end?),
            None => Err(error),
        }
    }

    /// Returns only if the context could not be sent; else holds the connection.
    async fn upload(&self) -> Error {
        let manifest = self.job.context.manifest();
        let (files, bytes) = (manifest.file_count(), manifest.total_bytes());
        let step = self
            .cx
            .events
            .step(StepKind::Upload, format!("send the build context ({files} files, {bytes} bytes)"));
        let read = Arc::new(AtomicU64::new(0));
        let stream = Delivery::of(&self.job.context).stream(Arc::clone(&read));
        let sending = async {
            let stdin = PodStream::attach(self.cluster, self.namespace, self.name, spec::CONTAINER).await?;
            let fed = stdin.feed(stream, || step.progress(read.load(Ordering::Relaxed), Some(bytes))).await;
            fed.map_err(|error| match error.kind() {
                ErrorKind::Unreachable => failure::connection_broke(self.namespace, self.name, error),
                _ => error,
            })
        };
        match sending.await {
            Ok(fed) => {
                step.done();
                match fed.hold().await {}
            }
            Err(error) => {
                step.failed(Error::message(&error));
                error
            }
        }
    }
}

/// Completes if there is an upload and it fails.
async fn failed(upload: Option<&mut Upload>) -> Error {
    match upload {
        Some(upload) => upload.failed().await,
        None => std::future::pending().await,
    }
}

/// How a build has ended, and who says so.
enum Ended {
    /// The cluster says how the container ended. The digest beside it was written in the container, where steps can write, too.
    ByCluster(PodEnd),
    /// The registry shows the image.
    ByRegistry(Digest),
}

/// Explains what the pod's end means for the build.
fn judge(end: Result<Ended>, progress: &Progress) -> Result<Pushed> {
    let pushed = |image| {
        let (cached, run) = progress.counts();
        Pushed::new(image, cached, run)
    };
    match end {
        Ok(Ended::ByRegistry(image)) => Ok(pushed(image).witnessed(true)),
        Ok(Ended::ByCluster(PodEnd { exit_code: 0, message })) => Ok(pushed(digest(&message)?)),
        Ok(Ended::ByCluster(PodEnd { exit_code, .. })) => Err(failure::explain(exit_code, progress)),
        Err(error) => Err(error.with_log_tail(progress.tail().to_vec())),
    }
}

/// The executor overwrites its digest file at every push of a cached layer too, but pushes the
/// image last: what an executor that succeeded left there is the image's digest.
fn digest(termination_message: &str) -> Result<Digest> {
    termination_message.trim().parse().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the executor succeeded but did not report the image's digest")
            .with_hint(Remedy::set(
                &["kaniko.image"],
                "check that the image of `kaniko.image` is a kaniko executor",
            ))
            .with_source(error)
    })
}
