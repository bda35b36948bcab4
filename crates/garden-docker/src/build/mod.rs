//! A build on a Docker daemon, wherever it runs.

mod buildkit;
mod classic;
mod credentials;
mod failure;
mod flags;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod names;
mod progress;
mod push;
mod sending;
mod unknown;

use garden_build_core::{
    BuildControl, BuildJob, BuildRequest, Capabilities, Error, ErrorKind, ImageReference, MissingCapability,
    PlannedObject, ProxyVariables, Pushed, Result, StepKind,
};
use garden_buildkit::Advice;
use garden_cluster::RegistryCredentials;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

pub(crate) use self::flags::image_flags;

use crate::{DockerDaemon, DockerError};
use flags::Flags;

/// The first Docker whose `BuildKit` knows named contexts; an older one takes them and ignores them.
/// Source: `BuildKit` 0.10, `frontend/dockerui`; Docker 23.0.
const NAMED_CONTEXTS: u32 = 23;

/// Which of the daemon's two builders builds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// `BuildKit` where the daemon has it.
    Newest,
    /// `BuildKit`.
    Buildkit,
    /// The one that was there before `BuildKit`.
    Classic,
}

/// What a mode with this choice can do, as far as that is known without asking the daemon.
pub(crate) fn capabilities(choice: Choice) -> Capabilities {
    let buildkit = choice != Choice::Classic;
    Capabilities::default()
        .with_named_contexts(buildkit)
        .with_secrets(buildkit)
        .with_ssh_agents(buildkit)
        .skipping_unused_stages(choice == Choice::Buildkit)
}

/// What can be done about something that the classic builder lacks.
fn instead(missing: MissingCapability) -> &'static str {
    match missing {
        MissingCapability::MultiplePlatforms => "request one build per platform",
        _ => {
            "BuildKit can: `local-docker` with a daemon that has it, or `cluster-docker` with `enableBuildKit`"
        }
    }
}

/// Shows what the daemon would be asked for. RUN steps use `proxies`.
pub(crate) fn plan(
    job: &BuildJob,
    name: &ImageReference,
    choice: Choice,
    mode: &str,
    proxies: &ProxyVariables,
) -> Result<PlannedObject> {
    let flags = Flags::read(&job.request.extra_flags, mode)?;
    if choice == Choice::Classic {
        flags.check_classic()?;
        let dockerfile = classic::Archive::of(&job.context).dockerfile;
        let proxies = proxies.shown_build_args(&job.request.build_args);
        let options = classic::options(job, name, &flags, &dockerfile, proxies)?;
        return PlannedObject::of("build by the classic builder of the Docker daemon", &options);
    }
    let wanted = buildkit::wanted(job, name, &flags, proxies);
    PlannedObject::of("build by the BuildKit of the Docker daemon", &wanted)
}

/// How images are built on a daemon.
#[derive(Clone, Debug)]
pub(crate) struct ImageBuilder<'a> {
    pub(crate) daemon: &'a DockerDaemon,
    /// The build mode's name.
    pub(crate) mode: &'a str,
    pub(crate) choice: Choice,
    pub(crate) credentials: &'a RegistryCredentials,
    /// Those of RUN steps. The daemon has its own.
    pub(crate) proxies: &'a ProxyVariables,
    pub(crate) advice: Advice,
}

/// The builder that builds.
enum Engine {
    Buildkit(TokioIo<Upgraded>),
    Classic,
}

impl ImageBuilder<'_> {
    /// Builds the image unless the daemon has it, and pushes it as `name`.
    pub(crate) async fn build_and_push(
        &self,
        job: &BuildJob,
        name: &ImageReference,
        cx: &BuildControl,
    ) -> Result<Pushed> {
        let (steps_cached, steps_run) = self.build(job, name, cx).await?;
        let digest = push::push(self, name, cx).await?;
        Ok(Pushed::new(digest, steps_cached, steps_run))
    }

    /// Builds the image as `name` unless the daemon has it. Returns how many steps came from a cache, and how many were run.
    pub(crate) async fn build(
        &self,
        job: &BuildJob,
        name: &ImageReference,
        cx: &BuildControl,
    ) -> Result<(usize, usize)> {
        let flags = Flags::read(&job.request.extra_flags, self.mode)?;
        let step =
            cx.events.step(StepKind::Prepare, format!("find the Docker daemon at {}", self.daemon.address()));
        let version = step.end(self.daemon.version().await.map_err(Error::from))?;
        if !job.request.replaces() {
            let step = cx.events.step(StepKind::LookUp, format!("look for {name} in Docker"));
            match self.daemon.image_id(name).await {
                Ok(Some(_)) => {
                    step.cached();
                    return Ok((0, 0));
                }
                Ok(None) => step.done(),
                Err(error) => return step.end(Err(error.into())),
            }
        }
        match self.engine().await? {
            Engine::Buildkit(connection) => {
                check_named_contexts(&job.request, &version.version)?;
                names::check(job, &version.version)?;
                buildkit::build(self, job, name, &flags, connection, cx).await
            }
            Engine::Classic => {
                if let Some(missing) = capabilities(Choice::Classic).missing_for(&job.request) {
                    return Err(missing.error("Docker's classic builder", instead(missing)));
                }
                flags.check_classic()?;
                classic::build(self, job, name, &flags, cx).await
            }
        }
    }

    async fn engine(&self) -> Result<Engine> {
        if self.choice == Choice::Classic {
            return Ok(Engine::Classic);
        }
        match self.daemon.buildkit().await? {
            Some(connection) => Ok(Engine::Buildkit(connection)),
            None if self.choice == Choice::Newest => Ok(Engine::Classic),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!("the Docker daemon at {} has no BuildKit", self.daemon.address()),
            )
            .with_hint("use a daemon that has it, or its classic builder")),
        }
    }

    /// Explains what it means that the daemon was there a moment ago, and now is not.
    fn lost(&self, error: DockerError) -> Error {
        match error {
            error @ (DockerError::Broken { .. } | DockerError::Silent { .. } | DockerError::Reach(_)) => {
                Error::new(ErrorKind::BuilderLost, error.to_string())
                    .with_hint(self.advice.lost)
                    .with_source(error)
                    .retryable()
            }
            error => error.into(),
        }
    }
}

fn check_named_contexts(request: &BuildRequest, version: &str) -> Result<()> {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if request.contexts.is_empty() || major.is_none_or(|major| major >= NAMED_CONTEXTS) {
        return Ok(());
    }
    let message = format!("`contexts`: Docker {version} knows no named contexts");
    Err(Error::new(ErrorKind::Unsupported, message)
        .with_hint(format!("update Docker to {NAMED_CONTEXTS}.0 or later")))
}
