//! `cargo xtask bench`: what we do and what a peer does, side by side in one run.
//!
//! What all benches share is here and in [`report`] and [`process`]; each bench has a file with its cases.

mod buildkit;
mod buildx;
mod cluster;
mod contest;
mod context;
mod copier;
mod docker;
mod docker_cli;
mod dockerd;
mod image;
mod kaniko;
mod kubectl;
mod ours;
mod process;
mod publish;
mod reader;
mod reading;
mod registry;
mod report;
mod slow_link;
mod workload;

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// The comparisons there are.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The mode cluster-buildkit, and `docker buildx` with its kubernetes driver.
    Buildkit(Options<buildkit::Case>),
    /// The mode kaniko with its context service, and `tar | gzip | kubectl run -i`.
    Kaniko(Options<kaniko::Case>),
    /// The mode local-docker, and the docker command: `docker build` and `docker push`.
    Docker(Options<docker::Case>),
    /// Copying an image from registry to registry, `skopeo copy` and `crane copy`.
    Publish(Options<publish::Case>),
    /// Finding and digesting the files of a build context; git, tar, Go, and the bare system calls.
    Context(Options<context::Case>),
    /// One build of ours, read from standard input. A process of its own, whose memory is measured.
    #[command(hide = true)]
    OneBuild,
    /// One copy of ours, in a process of its own for the same reason.
    #[command(hide = true)]
    OneCopy(Box<copier::Request>),
    /// One scan of ours, or what it is compared with.
    #[command(hide = true)]
    OneReading(reading::Task),
}

/// What every bench can be told.
#[derive(Debug, Args)]
pub(crate) struct Options<Case: clap::ValueEnum + Clone + Send + Sync + 'static> {
    /// How often each case is measured; medians of less than 5 mean little.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure this case only; may be repeated.
    #[arg(long = "case", value_name = "NAME", value_enum)]
    cases: Vec<Case>,
}

impl<Case: clap::ValueEnum + Clone + Send + Sync + PartialEq + 'static> Options<Case> {
    /// Returns the cases to measure, in their own order.
    fn chosen(&self) -> impl Iterator<Item = Case> {
        let all = Case::value_variants().iter().cloned();
        all.filter(|case| self.cases.is_empty() || self.cases.contains(case))
    }
}

pub(crate) fn run(command: &Command) -> Result<()> {
    if cfg!(debug_assertions) {
        return run_optimised();
    }
    match command {
        Command::Buildkit(options) => buildkit::run(options),
        Command::Kaniko(options) => kaniko::run(options),
        Command::Docker(options) => docker::run(options),
        Command::Publish(options) => publish::run(options),
        Command::Context(options) => context::run(options),
        Command::OneBuild => ours::build_once(),
        Command::OneCopy(request) => copier::copy_once(request),
        Command::OneReading(task) => reading::work(task),
    }
}

/// Figures of a debug build would say nothing, and `cargo xtask` is one. Cargo and the bench take this
/// process's place, so that Ctrl-C reaches the bench and nobody waits for it in vain.
fn run_optimised() -> Result<()> {
    println!("building the optimised bench (about 4 minutes the first time)");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let error = Process::new(cargo)
        .args(["run", "--release", "--package", "workbench", "--"])
        .args(env::args_os().skip(1))
        .exec();
    Err(error).context("starting cargo")
}

/// Whether somebody wants the bench to end. It then stops after the present build, and removes what it
/// has created.
#[derive(Clone, Debug, Default)]
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens to the signals for as long as `runtime` lives.
    fn listen(runtime: &Runtime) -> Result<Self> {
        let _inside = runtime.enter();
        let interrupt = Self::default();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let interrupt = interrupt.clone();
            runtime.spawn(async move {
                while signals.recv().await.is_some() {
                    eprintln!("stopping; what was created is being removed");
                    interrupt.0.store(true, Ordering::Relaxed);
                }
            });
        }
        Ok(interrupt)
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("stopped before the end; nothing was written");
        }
        Ok(())
    }
}
