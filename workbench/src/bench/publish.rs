//! Copying an image of 1 GB from registry to registry, and within one: ours, `skopeo copy` and `crane copy`.
//!
//! Each copy goes to a registry that has nothing, or to a repository that is new, so nobody finds what another has
//! left. What is at the destination in the end is checked, apart from what is measured.

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use garden_build::Digest;
use garden_build::registry::Location;
use tokio::runtime::Runtime;

use super::copier::{Copier, Request};
use super::process::Needed;
use super::registry::Registry;
use super::report::{self, Report, Side};
use super::{Interrupt, Options, image};

/// The repository that is copied.
const REPOSITORY: &str = "team/api";

/// Where the image goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// To another registry, which has nothing of it.
    Between,
    /// To another repository of the same registry.
    Within,
    /// To where it was copied before.
    Again,
}

impl Case {
    fn describe(self) -> &'static str {
        match self {
            Self::Between => "1 GB to another registry",
            Self::Within => "1 GB within a registry",
            Self::Again => "1 GB to where it is already",
        }
    }
}

pub(super) fn run(options: &Options<Case>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let interrupt = Interrupt::listen(&runtime)?;
    Copier::ALL.iter().try_for_each(|copier| copier.prepare())?;
    let peers = Copier::ALL.into_iter().filter(|copier| *copier != Copier::Ours);
    let reports = peers.map(|peer| Ok((peer, Report::new(peer.describe()?)))).collect::<Result<Vec<_>>>()?;
    println!("making an image of 1 GB");
    let registry = Registry::start()?;
    let source = registry.locate(REPOSITORY)?;
    let digest = runtime.block_on(image::push(&source))?.digest();
    let mut bench = Bench { runtime, registry, source, digest, reports };
    for case in options.chosen() {
        for round in 0..options.rounds {
            interrupt.check()?;
            bench.round(case, round, &interrupt)?;
            println!("round {} of {}: {}", round + 1, options.rounds, case.describe());
        }
    }
    let reports: Vec<Report> = bench.reports.into_iter().map(|(_, report)| report).collect();
    report::publish("publish", &reports)
}

struct Bench {
    runtime: Runtime,
    registry: Registry,
    source: Location,
    digest: Digest,
    reports: Vec<(Copier, Report)>,
}

impl Bench {
    /// Has everybody copy the image once. Who begins changes from round to round.
    fn round(&mut self, case: Case, round: u32, interrupt: &Interrupt) -> Result<()> {
        let mut turns = Copier::ALL;
        turns.rotate_left(round as usize % Copier::ALL.len());
        for copier in turns {
            interrupt.check()?;
            let needed = self
                .copy(copier, case, round)
                .with_context(|| format!("{}, round {}, {copier:?}", case.describe(), round + 1))?;
            self.record(copier, case, needed);
        }
        Ok(())
    }

    fn copy(&self, copier: Copier, case: Case, round: u32) -> Result<Needed> {
        let new = matches!(case, Case::Between | Case::Again).then(Registry::start).transpose()?;
        let registry = new.as_ref().unwrap_or(&self.registry);
        let destination = registry.locate(&format!("copies/{copier:?}-{round}").to_lowercase())?;
        let request = Request { source: self.source.image.clone(), destination: destination.image.clone() };
        let mut needed = copier.copy(&request)?;
        if case == Case::Again {
            needed = copier.copy(&request)?;
        }
        let found = self.runtime.block_on(destination.registry.resolve(&destination.image))?.digest();
        ensure!(found == Some(self.digest), "something else was copied than was to be");
        Ok(needed)
    }

    fn record(&mut self, copier: Copier, case: Case, needed: Needed) {
        let Needed { seconds, peak_memory } = needed;
        let figures = [("", "s", seconds), (": peak memory of the client", "MiB", peak_memory)];
        for (peer, report) in &mut self.reports {
            let side = match copier {
                Copier::Ours => Side::Ours,
                other if other == *peer => Side::Theirs,
                _ => continue,
            };
            for (what, unit, value) in figures {
                report.record(&format!("{}{what}", case.describe()), unit, side, value);
            }
        }
    }
}
