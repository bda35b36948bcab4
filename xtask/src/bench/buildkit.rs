//! The mode cluster-buildkit, and `docker buildx` with its kubernetes driver: on one cluster, with
//! daemons of one image, their state in memory, and pushing to one registry.
//!
//! Neither the files of the project nor the registry tell the two apart: both build the same directories,
//! each pushes to repositories of its own, which are new in each round, so that the other's layers
//! are of no use to it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::buildx::Buildx;
use super::cluster::Cluster;
use super::ours::{self, Ours};
use super::process::Needed;
use super::report::{self, Report, Side};
use super::{Interrupt, Options, workload};

/// The daemon's name for the step in which it is sent the build context.
/// Source: `BuildKit`, `frontend/dockerui/config.go`, `MainContext`.
const LOAD_CONTEXT: &str = "[internal] load build context";

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// 20 000 files with 200 MB: all new, unchanged, one file changed.
    Tree,
    /// One file of 512 MiB: all new, unchanged, changed.
    BigFile,
    /// A Dockerfile of three lines that was built before.
    Small,
    /// Five stages, on a daemon that knows nothing, from the cache in the registry.
    RegistryCache,
}

/// One build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) directory: PathBuf,
    /// The repository, below what is each side's own.
    pub(super) repository: String,
    /// The peer's tag; ours is made from the content.
    pub(super) tag: String,
    /// Whether ours builds without asking whether the image exists.
    pub(super) force: bool,
    /// Whether ours must find that the image exists. The peer never looks.
    pub(super) exists: bool,
    pub(super) registry_cache: bool,
}

/// How a build went.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) needed: Needed,
    /// What a program needs that uses the library, in seconds. Only ours is one.
    pub(super) in_process: Option<f64>,
    /// See [`ContextClock`].
    pub(super) context: Option<f64>,
}

/// Measures the step that loads the build context, by when the daemon's reports arrive: our events
/// have no times of the daemon's. The daemon runs the step twice, first only to look at it: the last
/// run counts. The same rule is used for both sides.
#[derive(Debug, Default)]
pub(super) struct ContextClock {
    run: Option<(String, Instant)>,
    ended: Option<f64>,
}

impl ContextClock {
    /// Takes a report that a step runs; `run` tells its runs apart.
    pub(super) fn started(&mut self, step: &str, run: &str) {
        if step == LOAD_CONTEXT && self.run.as_ref().is_none_or(|(known, _)| known != run) {
            self.run = Some((run.to_owned(), Instant::now()));
            self.ended = None;
        }
    }

    /// Takes a report that a step has ended.
    pub(super) fn completed(&mut self, step: &str) {
        if let Some((_, started)) = self.run.as_ref().filter(|_| step == LOAD_CONTEXT) {
            self.ended.get_or_insert(started.elapsed().as_secs_f64());
        }
    }

    pub(super) fn seconds(&self) -> Option<f64> {
        self.ended
    }
}

/// What is taken from a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// The whole process, from its start to its end.
    Whole,
    /// The same; ours without its process, as a program sees it that uses the library.
    Library,
    Context,
    PeakMemory,
}

pub(super) fn run(options: &Options<Case>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let interrupt = Interrupt::listen(&runtime)?;
    let mut cluster = Cluster::up(runtime)?;
    let measured = measure(&mut cluster, interrupt, options);
    println!("removing the daemons");
    let removed = cluster.remove_namespaces();
    let report = measured?;
    removed?;
    report::publish("buildkit", &[report])
}

fn measure(cluster: &mut Cluster, interrupt: Interrupt, options: &Options<Case>) -> Result<Report> {
    let (namespace, peers_namespace) =
        (cluster.create_namespace("ours")?, cluster.create_namespace("buildx")?);
    let ours = Ours::new(cluster, namespace)?;
    let theirs = Buildx::new(cluster, peers_namespace)?;
    let report = Report::new(theirs.describe()?);
    let mut bench = Bench { cluster, ours, theirs, report, rounds: options.rounds, interrupt };
    let measured = bench.start_daemons().and_then(|()| {
        options.chosen().try_for_each(|case| match case {
            Case::Tree => bench.tree(),
            Case::BigFile => bench.big_file(),
            Case::Small => bench.small(),
            Case::RegistryCache => bench.registry_cache(),
        })
    });
    // Whether or not it got as far as to have a daemon; what is in the namespace goes with that.
    let removed = bench.theirs.remove();
    measured?;
    removed?;
    Ok(bench.report)
}

struct Bench<'a> {
    cluster: &'a Cluster,
    ours: Ours,
    theirs: Buildx,
    report: Report,
    rounds: u32,
    interrupt: Interrupt,
}

impl Bench<'_> {
    fn start_daemons(&self) -> Result<()> {
        println!("starting the daemons");
        self.theirs.start(self.cluster)?;
        self.interrupt.check()?;
        let anything = workload::small(&self.cluster.variable("GARDEN_TEST_BASE_IMAGE")?)?;
        self.ours.build(&request(anything.path(), "first"))?;
        self.cluster.keep_state_in_memory(&self.ours.namespace, ours::DEPLOYMENT)
    }

    fn tree(&mut self) -> Result<()> {
        println!("writing 20 000 files");
        let directory = workload::tree()?;
        self.cold_unchanged_changed("20 000 files", directory.path(), workload::FILE_IN_TREE)
    }

    fn big_file(&mut self) -> Result<()> {
        println!("writing 512 MiB");
        let directory = workload::big_file()?;
        self.cold_unchanged_changed("512 MiB file", directory.path(), workload::BIG_FILE)
    }

    fn cold_unchanged_changed(&mut self, what: &str, directory: &Path, file: &str) -> Result<()> {
        use Figure::{Context, PeakMemory, Whole};
        for round in 0..self.rounds {
            let first = request(directory, &format!("{}-{round}", what.replace(' ', "-").to_lowercase()));
            self.forget()?;
            self.both(round, &format!("{what}, cold"), &first, &[Whole, Context, PeakMemory])?;
            let unchanged = Request { exists: true, ..first.clone() };
            self.both(round, &format!("{what}, unchanged"), &unchanged, &[Whole, PeakMemory])?;
            let forced = Request { force: true, ..first.clone() };
            self.both(round, &format!("{what}, unchanged, built anyway"), &forced, &[Whole, Context])?;
            workload::change(&directory.join(file), round)?;
            let changed = Request { tag: "changed".to_owned(), ..first };
            self.both(round, &format!("{what}, one changed"), &changed, &[Whole, Context])?;
        }
        Ok(())
    }

    fn small(&mut self) -> Result<()> {
        use Figure::{Library, PeakMemory, Whole};
        let directory = workload::small(&self.cluster.variable("GARDEN_TEST_BASE_IMAGE")?)?;
        let first = request(directory.path(), "small");
        self.ours.build(&first)?;
        self.theirs.build(&first)?;
        for round in 0..self.rounds {
            let unchanged = Request { exists: true, ..first.clone() };
            self.both(round, "three lines, unchanged", &unchanged, &[Whole, Library, PeakMemory])?;
            let forced = Request { force: true, ..first.clone() };
            self.both(round, "three lines, unchanged, built anyway", &forced, &[Whole, Library])?;
        }
        Ok(())
    }

    fn registry_cache(&mut self) -> Result<()> {
        let directory = workload::stages(&self.cluster.variable("GARDEN_TEST_BASE_IMAGE")?)?;
        let first = Request { registry_cache: true, ..request(directory.path(), "stages") };
        println!("filling the caches in the registry");
        self.ours.build(&first)?;
        self.theirs.build(&first)?;
        for round in 0..self.rounds {
            self.forget()?;
            // So that there is something to build, after all that comes from the cache.
            workload::change(&directory.path().join("app.txt"), round)?;
            let changed = Request { tag: format!("round-{round}"), ..first.clone() };
            self.both(round, "five stages, from the registry's cache", &changed, &[Figure::Whole])?;
        }
        Ok(())
    }

    /// Makes both daemons start from nothing.
    fn forget(&self) -> Result<()> {
        self.interrupt.check()?;
        self.cluster.prune(&self.ours.namespace)?;
        self.cluster.prune(&self.theirs.namespace)
    }

    /// Has both sides build the same, one after the other.
    fn both(&mut self, round: u32, case: &str, request: &Request, figures: &[Figure]) -> Result<()> {
        let mut seconds = [0.0; 2];
        for side in Side::turns(round) {
            self.interrupt.check()?;
            let built = match side {
                Side::Ours => self.ours.build(request),
                Side::Theirs => self.theirs.build(request),
            };
            let built = built.with_context(|| format!("{case}, round {}, {side:?}", round + 1))?;
            seconds[usize::from(side == Side::Theirs)] = built.needed.seconds;
            for figure in figures {
                self.record(side, case, *figure, &built);
            }
        }
        let [ours, theirs] = seconds;
        println!("round {} of {}: {case}: {ours:.2} s, theirs {theirs:.2} s", round + 1, self.rounds);
        Ok(())
    }

    fn record(&mut self, side: Side, case: &str, figure: Figure, built: &Built) {
        let Needed { seconds, peak_memory } = built.needed;
        let (what, unit, value) = match figure {
            Figure::Whole => ("", "s", Some(seconds)),
            Figure::Library => (": as a library", "s", Some(built.in_process.unwrap_or(seconds))),
            Figure::Context => (": context", "s", built.context),
            Figure::PeakMemory => (": peak memory of the client", "MiB", Some(peak_memory)),
        };
        if let Some(value) = value {
            self.report.record(&format!("{case}{what}"), unit, side, value);
        }
    }
}

/// A build that ours must not find done.
fn request(directory: &Path, repository: &str) -> Request {
    Request {
        directory: directory.to_owned(),
        repository: repository.to_owned(),
        tag: "latest".to_owned(),
        force: false,
        exists: false,
        registry_cache: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_of_the_step_counts() {
        let mut clock = ContextClock::default();
        clock.started("[1/2] FROM scratch", "0");
        clock.completed("[1/2] FROM scratch");
        assert_eq!(clock.seconds(), None);
        clock.started(LOAD_CONTEXT, "1");
        clock.completed(LOAD_CONTEXT);
        let looked = clock.seconds().expect("measured");
        clock.completed(LOAD_CONTEXT);
        assert_eq!(clock.seconds(), Some(looked), "the end is reported again");
        clock.started(LOAD_CONTEXT, "2");
        assert_eq!(clock.seconds(), None);
        clock.completed(LOAD_CONTEXT);
        assert!(clock.seconds().is_some());
    }
}
