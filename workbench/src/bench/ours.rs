//! Our side: the facade `Builder`, in a process of its own for each build.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use garden_build::config::{
    BuildMode, ClusterBuildkitOptions, DeploymentRegistry, KanikoNamespace, KanikoOptions, ProviderConfig,
};
use garden_build::{BuildRequest, Builder, Event, Outcome};
use serde::{Deserialize, Serialize};

use super::cluster::{CPU_LIMIT, MEMORY_LIMIT_GIB};
use super::contest::{Built, ContextClock, Request, Task};
use super::process::{self, Reports};

/// The name of our daemon's Deployment.
pub(super) const DEPLOYMENT: &str = "garden-buildkit";

/// How our side reaches its daemon and the registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ours {
    pub(super) kubeconfig: PathBuf,
    /// The cluster's namespace, and the one in the registry.
    pub(super) namespace: String,
    pub(super) registry: String,
    pub(super) mode: Mode,
    /// What the process that builds finds in its environment, besides what this one does.
    #[serde(skip)]
    pub(super) environment: Vec<(&'static str, OsString)>,
}

/// The build mode, and what it has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Mode {
    /// With a daemon of this image.
    ClusterBuildkit { image: String },
    /// With an executor of this image, and its context service.
    Kaniko { image: String },
    /// With the daemon that the environment names.
    LocalDocker,
}

/// What the process that builds is told.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    by: Ours,
    request: Request,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    seconds: f64,
    context: Option<f64>,
    asked_for_context: Option<f64>,
    existed: bool,
}

/// What a build with kaniko says when its pod asks for the context.
const POD_FETCHES: &str = "the pod fetches the build context";

impl Ours {
    /// Builds in a process of its own, because that is what the peer does, too.
    pub(super) fn build(&self, request: &Request) -> Result<Built> {
        let job = serde_json::to_vec(&Job { by: self.clone(), request: request.clone() })?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["bench", "one-build"]).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut answer = None;
        let needed = process::run(&mut command, &job, Reports::OnOutput, |line| {
            answer = serde_json::from_str::<Answer>(line).ok();
        })?;
        let answer = answer.context("the build did not say how it went")?;
        if answer.existed != matches!(request.ours, Task::FindBuilt | Task::Ask) {
            let found = if answer.existed { "existed" } else { "did not exist" };
            bail!("the image {found}, so something else was measured than was to be");
        }
        let Answer { seconds, context, asked_for_context, .. } = answer;
        Ok(Built { needed, in_process: Some(seconds), context, asked_for_context })
    }

    fn provider(&self, request: &Request) -> Result<ProviderConfig> {
        let build_mode = match &self.mode {
            Mode::ClusterBuildkit { image } => {
                let mut options = ClusterBuildkitOptions::default();
                options.image = Some(image.clone());
                if !request.registry_cache {
                    options.cache = Vec::new();
                }
                BuildMode::ClusterBuildkit(options)
            }
            Mode::Kaniko { image } => {
                let mut options = KanikoOptions::default();
                options.image.clone_from(image);
                options.namespace = KanikoNamespace::Project;
                BuildMode::Kaniko(options)
            }
            Mode::LocalDocker => BuildMode::LocalDocker,
        };
        let mut registry = DeploymentRegistry::new(&self.registry)?;
        registry.insecure = true;
        registry.namespace = Some(self.namespace.clone());
        let mut provider = ProviderConfig::kubernetes("bench");
        provider.kubeconfig = Some(self.kubeconfig.clone());
        provider.namespace.name.clone_from(&self.namespace);
        provider.build_mode = build_mode;
        provider.deployment_registry = Some(registry);
        let resources = &mut provider.resources.builder;
        (resources.requests.cpu, resources.requests.memory) = (50, 64);
        (resources.limits.cpu, resources.limits.memory) = (CPU_LIMIT * 1000, MEMORY_LIMIT_GIB << 10);
        Ok(provider)
    }
}

/// Builds what standard input asks for, and writes to standard output how long it took.
pub(super) fn build_once() -> Result<()> {
    let job: Job = serde_json::from_reader(io::stdin().lock())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let answer = runtime.block_on(build(&job.by, &job.request))?;
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

async fn build(by: &Ours, request: &Request) -> Result<Answer> {
    let started = Instant::now();
    let builder = Builder::options(by.provider(request)?).connect()?;
    let asked =
        BuildRequest::new(&request.repository, &request.directory).force(request.ours == Task::BuildAnyway);
    if request.ours == Task::Ask {
        let existed = builder.status(asked).await?.existing.is_some();
        let seconds = started.elapsed().as_secs_f64();
        return Ok(Answer { seconds, context: None, asked_for_context: None, existed });
    }
    let mut build = builder.build(asked);
    let mut clock = ContextClock::default();
    let mut asked_for_context = None;
    while let Some(event) = build.next_event().await {
        match event {
            Event::StepStarted { step, name, .. } => clock.started(&name, &format!("{step:?}")),
            Event::StepFinished { name, .. } => clock.completed(&name),
            Event::Log { line, .. } if line == POD_FETCHES => {
                asked_for_context.get_or_insert(started.elapsed().as_secs_f64());
            }
            _ => {}
        }
    }
    let image = build.await?;
    Ok(Answer {
        seconds: started.elapsed().as_secs_f64(),
        context: clock.seconds(),
        asked_for_context,
        existed: matches!(image.outcome, Outcome::AlreadyExists),
    })
}
