use std::time::Duration;

use futures::future::BoxFuture;
use garden_build_core::{
    Backend, BuildControl, BuildJob, BuildRequest, Capabilities, Error, ErrorKind, ImageFlag, PlannedObject,
    Pushed, Remedy, Result, StepKind,
};
use garden_buildkit::Advice;
use garden_cluster::RegistryCredentials;

use super::{DaemonChoice, NodeImages};
use crate::build::{Choice, ImageBuilder, capabilities, image_flags, plan};

const MODE: &str = "local-docker";

/// How long a daemon may take to start again. Docker Desktop takes its time.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);

const ADVICE: Advice = Advice {
    memory: Remedy::new("give Docker more memory"),
    disk: Remedy::new("Docker's disk is full: `docker system prune` removes what nothing needs"),
    lost: Remedy::build_again("build again; if it happens again, look at the log of the Docker daemon"),
    push: Remedy::log_in(
        &["imagePullSecrets"],
        "log in to the registry with `docker login`, or give `imagePullSecrets` credentials that may write",
    ),
    base_image: Remedy::log_in(
        &["imagePullSecrets"],
        "check the name in FROM, that Docker reaches its registry, and that `docker login` or `imagePullSecrets` has \
                     credentials for it",
    ),
    registry: Remedy::new(
        "tell the Docker daemon about this registry: in `insecure-registries` of its daemon.json if it speaks plain HTTP (for the \
               BuildKit of Docker before 24 as `http://HOST:PORT`), or \
               with its authority's certificate in /etc/docker/certs.d/HOST[:PORT]/ca.crt",
    ),
};

/// Builds on a Docker daemon of the user's, and pushes from there.
#[derive(Clone, Debug)]
pub struct LocalDockerBackend {
    daemon: DaemonChoice,
    credentials: RegistryCredentials,
    /// Where images go instead of a registry.
    nodes: Option<NodeImages>,
}

impl LocalDockerBackend {
    /// Builds on `daemon`, and pulls and pushes with `credentials`.
    pub fn new(daemon: DaemonChoice, credentials: RegistryCredentials) -> Self {
        Self { daemon, credentials, nodes: None }
    }

    /// Builds on the daemon of `nodes`, and gives the images to them instead of pushing.
    pub fn for_nodes(nodes: NodeImages, credentials: RegistryCredentials) -> Self {
        Self { daemon: nodes.daemon.clone(), credentials, nodes: Some(nodes) }
    }

    fn choice(&self) -> Choice {
        if self.daemon.is_classic() { Choice::Classic } else { Choice::Newest }
    }

    /// Builds, and if the daemon was lost meanwhile, waits until it is back before the loss is reported, so that the next try finds it.
    async fn build_or_wait(&self, job: &BuildJob, cx: &BuildControl) -> Result<Pushed> {
        let built = self.build_and_deliver(job, cx).await;
        if built.as_ref().is_err_and(|error| error.kind() == ErrorKind::BuilderLost) {
            let step = cx.events.step(StepKind::Wait, "wait for the Docker daemon to come back");
            match tokio::time::timeout(RESTART_PATIENCE, self.is_back()).await {
                Ok(()) => step.done(),
                Err(_) => step.failed(format!("it did not within {} s", RESTART_PATIENCE.as_secs())),
            }
        }
        built
    }

    async fn is_back(&self) {
        loop {
            if let Ok(daemon) = self.daemon.daemon()
                && daemon.answers().await
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn build_and_deliver(&self, job: &BuildJob, cx: &BuildControl) -> Result<Pushed> {
        let daemon = self.daemon.daemon()?;
        let proxies = daemon.proxies_of_steps()?;
        let builder = ImageBuilder {
            daemon: &daemon,
            mode: MODE,
            choice: self.choice(),
            credentials: &self.credentials,
            proxies: &proxies,
            advice: ADVICE,
        };
        let Some(nodes) = &self.nodes else {
            return builder.build_and_push(job, &job.push_to, cx).await;
        };
        let image = &job.destination;
        // Before anything is built, because without a way to the nodes it would be in vain.
        let supplies = nodes.supplies(&daemon).await?;
        let (steps_cached, steps_run) = builder.build(job, image, cx).await?;
        nodes.supply(&daemon, &supplies, image, job.request.replaces(), &cx.events).await?;
        let built = daemon.image_id(image).await?.ok_or_else(|| {
            let message = format!("Docker has built {image}, and then does not have it");
            Error::new(ErrorKind::Unexpected, message).with_hint(Remedy::build_again("build again"))
        })?;
        Ok(Pushed::new(built, steps_cached, steps_run))
    }
}

impl Backend for LocalDockerBackend {
    fn name(&self) -> &'static str {
        MODE
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(self.choice())
    }

    fn image_flags(&self, request: &BuildRequest) -> Result<Vec<ImageFlag>> {
        image_flags(request, MODE)
    }

    fn plan(&self, job: &BuildJob) -> Result<Vec<PlannedObject>> {
        let proxies = self.daemon.daemon()?.proxies_of_steps()?;
        Ok(vec![plan(job, &job.push_to, self.choice(), MODE, &proxies)?])
    }

    fn build<'a>(&'a self, job: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(cx.until_stopped(self.build_or_wait(job, cx)))
    }
}
