//! One pod, from its creation to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use garden_build_core::{BuildContext, BuildJob, Digest, Error, ErrorKind, Pushed, Result, Stream};
use garden_cluster::{BuildPod, Cluster, PodEnd, StdinUpload, follow_log};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::progress::Progress;
use crate::{failure, spec};

/// How long a container whose stdin broke gets to tell why.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(10);

/// The build's pod, which was created just now.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) job: &'a BuildJob,
    pub(crate) cx: &'a BuildContext,
}

impl Run<'_> {
    /// Waits for the pod to start, feeds it the context, reports what it says, and judges its end.
    pub(crate) async fn finish(self) -> Result<Pushed> {
        let mut pod = BuildPod::watch(self.cluster, self.namespace, self.name, spec::CONTAINER);
        let step = self.cx.events.step(format!("start Pod {}/{}", self.namespace, self.name));
        let started = pod.started(|what| step.log(Stream::Builder, format!("waiting for {what}"))).await;
        step.end(started.map_err(Error::from))?;

        let mut progress = Progress::new(self.cx.events.clone(), &self.job.push_to);
        let container_ended = CancellationToken::new();
        let feeding = async {
            let end = self.feed(&mut pod).await;
            container_ended.cancel();
            end
        };
        let (end, ()) = tokio::join!(feeding, self.read_log(&container_ended, &mut progress));
        let outcome = judge(end, &progress);
        progress.end(outcome.as_ref().err().map(Error::message));
        outcome
    }

    async fn read_log(&self, container_ended: &CancellationToken, progress: &mut Progress) {
        let (namespace, name) = (self.namespace, self.name);
        let read = follow_log(self.cluster, namespace, name, spec::CONTAINER, container_ended, |line| {
            progress.line(line);
        });
        let ended = read.await;
        if !ended && !self.cx.cancel.is_cancelled() {
            let message = format!("the end of the log of Pod {namespace}/{name} could not be read");
            self.cx.events.warn(message, None);
        }
    }

    /// Streams the context into the pod, and waits for the pod to end.
    async fn feed(&self, pod: &mut BuildPod) -> Result<PodEnd> {
        let error = tokio::select! {
            end = pod.ended() => return Ok(end?),
            error = self.upload() => error,
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
    async fn upload(&self) -> Error {
        let manifest = self.job.context.manifest();
        let (files, bytes) = (manifest.file_count(), manifest.total_bytes());
        let step = self.cx.events.step(format!("send the build context ({files} files, {bytes} bytes)"));
        let read = Arc::new(AtomicU64::new(0));
        let stream = Delivery::of(&self.job.context).stream(Arc::clone(&read));
        let sending = async {
            let stdin = StdinUpload::open(self.cluster, self.namespace, self.name, spec::CONTAINER).await?;
            stdin.send(stream, || step.progress(read.load(Ordering::Relaxed), Some(bytes))).await
        };
        match sending.await {
            Ok(uploaded) => {
                step.done();
                match uploaded.hold().await {}
            }
            Err(error) => {
                step.failed(Error::message(&error));
                error
            }
        }
    }
}

/// Says what the pod's end means for the build.
fn judge(end: Result<PodEnd>, progress: &Progress) -> Result<Pushed> {
    match end {
        Ok(PodEnd { exit_code: 0, message }) => {
            let (cached, run) = progress.counts();
            Ok(Pushed::new(digest(&message)?, cached, run))
        }
        Ok(PodEnd { exit_code, .. }) => {
            Err(failure::explain(exit_code, progress.instruction(), progress.tail()))
        }
        Err(error) => Err(error.with_log_tail(progress.tail().to_vec())),
    }
}

/// The executor overwrites its digest file at every push of a cached layer too, but pushes the
/// image last: what an executor that succeeded left there is the image's digest.
fn digest(termination_message: &str) -> Result<Digest> {
    termination_message.trim().parse().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the executor succeeded but did not report the image's digest")
            .with_hint("check that the image of `kaniko.image` is a kaniko executor")
            .with_source(error)
    })
}
