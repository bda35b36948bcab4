//! The mode local-docker, and the docker command: `docker build`, which has buildx build, and `docker push`.
//!
//! Each side has a daemon of the same program, which begins with nothing in each round, as does the registry that
//! both push to. So neither finds what the other has built, pulled or pushed. Daemons and registry keep their state in
//! memory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use xtask::part::Part;

use super::contest::{Built, Contest, Request, Sides};
use super::docker_cli::DockerCli;
use super::dockerd::Daemon;
use super::ours::{Mode, Ours};
use super::registry::Registry;
use super::report::{self, Side};
use super::workload::{self, Content};
use super::{Interrupt, Options};
use crate::testbed::{self, Environment};

/// What is built: all new, unchanged, one file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// A Dockerfile of three lines.
    Small,
    /// 20 000 files with 200 MB.
    Tree,
    /// The three lines, with the builder that Docker had before `BuildKit`.
    ClassicSmall,
    /// The 20 000 files, with that builder.
    ClassicTree,
}

impl Case {
    fn is_classic(self) -> bool {
        matches!(self, Self::ClassicSmall | Self::ClassicTree)
    }
}

pub(super) fn run(options: &Options<Case>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let interrupt = Interrupt::listen(&runtime)?;
    testbed::check()?;
    let Environment { variables, .. } = testbed::up(&Part::ALL)?;
    let sides = Docker::new(runtime, variables)?;
    let peer = sides.describe_peer()?;
    let mut contest = Contest::new(sides, peer, options.rounds, interrupt);
    for case in options.chosen() {
        contest.sides.is_classic = case.is_classic();
        let name =
            |what: &str| if case.is_classic() { format!("classic builder, {what}") } else { what.to_owned() };
        match case {
            Case::Small | Case::ClassicSmall => {
                let directory = workload::small(contest.sides.variable("GARDEN_TEST_BASE_IMAGE")?)?;
                contest.cold_unchanged_changed(
                    &name("three lines"),
                    directory.path(),
                    workload::APPLICATION,
                )?;
            }
            Case::Tree | Case::ClassicTree => {
                println!("writing 20 000 files");
                let directory = workload::tree(Content::Noise)?;
                contest.cold_unchanged_changed(
                    &name("20 000 files"),
                    directory.path(),
                    workload::FILE_IN_TREE,
                )?;
            }
        }
    }
    report::publish("docker", &[contest.report])
}

/// Both sides.
struct Docker {
    runtime: Runtime,
    variables: BTreeMap<String, String>,
    /// The docker command's files, so that those of the user are neither used nor changed.
    configuration: TempDir,
    is_classic: bool,
    ground: Option<Ground>,
}

/// What a round begins with.
struct Ground {
    ours: Daemon,
    theirs: Daemon,
    registry: Registry,
}

impl Docker {
    fn new(runtime: Runtime, variables: BTreeMap<String, String>) -> Result<Self> {
        let configuration = TempDir::new()?;
        let plugins = configuration.path().join("cli-plugins");
        fs::create_dir(&plugins)?;
        symlink(testbed::peer("buildx")?, plugins.join("docker-buildx"))?;
        Ok(Self { runtime, variables, configuration, is_classic: false, ground: None })
    }

    /// Returns what a reader should know the peer by.
    fn describe_peer(&self) -> Result<String> {
        let command = DockerCli {
            program: self.variable("GARDEN_TEST_DOCKER_CLI")?.into(),
            environment: vec![("DOCKER_CONFIG", self.configuration.path().into())],
            prefix: String::new(),
            is_classic: false,
        };
        let version = command.run(&["--version"])?;
        let buildx = command.run(&["buildx", "version"])?;
        let version = version.split([' ', ',']).nth(2).context("docker does not tell its version")?;
        let buildx = buildx.split(' ').nth(1).context("buildx does not tell its version")?;
        Ok(format!("docker {version}, buildx {}", buildx.trim_start_matches('v')))
    }

    fn variable(&self, name: &str) -> Result<&str> {
        self.variables.get(name).map(String::as_str).with_context(|| format!("{name} is not set"))
    }

    /// What both sides find in their environment.
    fn environment(&self, daemon: &Daemon) -> Vec<(&'static str, OsString)> {
        let buildkit = if self.is_classic { "0" } else { "1" };
        vec![
            ("DOCKER_HOST", daemon.host().into()),
            ("DOCKER_CONFIG", self.configuration.path().into()),
            ("DOCKER_BUILDKIT", buildkit.into()),
        ]
    }
}

impl Sides for Docker {
    fn build(&self, side: Side, request: &Request) -> Result<Built> {
        let ground = self.ground.as_ref().context("the daemons were not started")?;
        match side {
            Side::Ours => Ours {
                kubeconfig: PathBuf::from(self.variable("KUBECONFIG")?),
                namespace: "ours".to_owned(),
                registry: ground.registry.name.clone(),
                mode: Mode::LocalDocker,
                environment: self.environment(&ground.ours),
            }
            .build(request),
            Side::Theirs => DockerCli {
                program: self.variable("GARDEN_TEST_DOCKER_CLI")?.into(),
                environment: self.environment(&ground.theirs),
                prefix: format!("{}/theirs", ground.registry.name),
                is_classic: self.is_classic,
            }
            .build(request),
        }
    }

    fn forget(&mut self) -> Result<()> {
        // The former ones stop first, and give their memory back.
        self.ground = None;
        let program = Path::new(self.variable("GARDEN_TEST_DOCKERD")?);
        let programs = Path::new(self.variable("GARDEN_TEST_CONTAINERD_PROGRAMS")?);
        let base_images = self.variable("GARDEN_TEST_REGISTRY")?;
        let start = || Daemon::start(program, programs, base_images, &self.runtime);
        self.ground = Some(Ground { ours: start()?, theirs: start()?, registry: Registry::start()? });
        Ok(())
    }
}
