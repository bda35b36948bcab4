use std::error::Error as StdError;
use std::sync::Arc;

use futures::future::BoxFuture;
use garden_build_core::{
    Backend, BuildControl, BuildJob, BuildRequest, Capabilities, Error, ErrorKind, ImageFlag, PlannedObject,
    Pushed, Remedy, Result, StepKind,
};
use garden_buildkit::Advice;
use garden_cluster::{RegistryCredentials, last_words};

use super::{ClusterDaemon, PodDialer};
use crate::build::{Choice, ImageBuilder, capabilities, image_flags, plan};
use crate::{DockerDaemon, DockerError};

const MODE: &str = "cluster-docker";

pub(super) const ADVICE: Advice = Advice {
    memory: Remedy::set_and_install(
        &["resources.builder.limits.memory"],
        "raise `resources.builder.limits.memory`, and install again (`init`)",
    ),
    disk: Remedy::clean_up(
        &["storage.builder.size"],
        "the Docker daemon's volume is full: a clean-up frees room in it, `storage.builder.size` enlarges it",
    ),
    lost: Remedy::build_again("build again; if it happens again, look at the log of the Docker daemon"),
    push: Remedy::log_in(
        &["imagePullSecrets"],
        "give `imagePullSecrets` credentials that may write to the registry",
    ),
    base_image: Remedy::log_in(
        &["imagePullSecrets"],
        "check the name in FROM, that the cluster reaches its registry, and that `imagePullSecrets` has credentials for it",
    ),
    registry: Remedy::set_and_install(
        &["deploymentRegistry", "clusterDocker.registries"],
        "set `insecure` of this registry if it speaks plain HTTP, or `caCertificate`, in `deploymentRegistry` or \
               `clusterDocker.registries`; then install again (`init`)",
    ),
};

/// Builds on the Docker daemon in the cluster, and pushes from there.
#[derive(Clone, Debug)]
pub struct ClusterDockerBackend {
    daemon: ClusterDaemon,
    choice: Choice,
    credentials: RegistryCredentials,
}

impl ClusterDockerBackend {
    /// Builds on `daemon`, with the `BuildKit` in it or with its classic builder, and pulls and pushes with `credentials`.
    pub fn new(daemon: ClusterDaemon, enable_buildkit: bool, credentials: RegistryCredentials) -> Self {
        let choice = if enable_buildkit { Choice::Buildkit } else { Choice::Classic };
        Self { daemon, choice, credentials }
    }

    /// The story of one build. It creates nothing in the cluster: what it holds in the daemon's pod ends with it.
    async fn build_and_push(&self, job: &BuildJob, cx: &BuildControl) -> Result<Pushed> {
        let step = cx.events.step(StepKind::Prepare, format!("find {}", self.daemon.description()));
        let running = Box::pin(self.daemon.running(step.events())).await;
        let pod = step.end(running.map_err(Error::from))?;
        let lost = self.daemon.lost(&pod);
        tokio::pin!(lost);
        let building = async {
            let waits = || cx.events.log("waiting for a clean-up of the Docker daemon to end");
            let mut share = self.daemon.occupy(&pod, waits).await?;
            let dialer: Arc<PodDialer> = Arc::new(self.daemon.dialer(&pod));
            let daemon = DockerDaemon::over(dialer)?;
            let builder = ImageBuilder {
                daemon: &daemon,
                mode: MODE,
                choice: self.choice,
                credentials: &self.credentials,
                proxies: self.daemon.proxies(),
                advice: ADVICE,
            };
            let built = share.during(builder.build_and_push(job, &job.destination, cx)).await;
            built.unwrap_or_else(|reason| Err(self.daemon.lock_lost(&pod, &reason).into()))
        };
        let error = tokio::select! {
            biased;
            built = building => match built {
                Ok(pushed) => return Ok(pushed),
                Err(error) => error,
            },
            diagnosis = &mut lost => return Err(diagnosis.into()),
        };
        if !is_a_break(&error) {
            return Err(error);
        }
        Err(last_words(lost).await.map_or_else(|| lost_on_the_way(error), Error::from))
    }
}

/// What it means for a build that the way to a daemon broke which lives on, whatever the daemon was asked just then.
fn lost_on_the_way(error: Error) -> Error {
    if error.kind() == ErrorKind::BuilderLost {
        return error;
    }
    let message = error.message().to_owned();
    Error::new(ErrorKind::BuilderLost, message).with_hint(ADVICE.lost).with_source(error).retryable()
}

/// Whether the way to the daemon broke, which may be the echo of its end. A daemon that says that it cannot reach a registry, or push to it,
/// lives.
fn is_a_break(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::BuilderLost => true,
        // A trouble of the daemon itself, or of the API server on the way to it.
        ErrorKind::Unreachable => {
            error.source().is_some_and(<dyn StdError>::is::<DockerError>) || error.is_retryable()
        }
        _ => false,
    }
}

impl Backend for ClusterDockerBackend {
    fn name(&self) -> &'static str {
        MODE
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(self.choice)
    }

    fn image_flags(&self, request: &BuildRequest) -> Result<Vec<ImageFlag>> {
        image_flags(request, MODE)
    }

    /// The daemon does not belong to it: `Builder::init` installs it. Builds leave nothing behind that a sweep could remove: the image and
    /// what was cached stay on purpose.
    fn plan(&self, job: &BuildJob) -> Result<Vec<PlannedObject>> {
        Ok(vec![plan(job, &job.destination, self.choice, MODE, self.daemon.proxies())?])
    }

    fn build<'a>(&'a self, job: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(cx.until_stopped(self.build_and_push(job, cx)))
    }
}

#[cfg(test)]
mod tests;
