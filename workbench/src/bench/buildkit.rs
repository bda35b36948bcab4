//! The mode cluster-buildkit, and `docker buildx` with its kubernetes driver: on one cluster, with
//! daemons of one image, their state in memory, and pushing to one registry.
//!
//! Neither the files of the project nor the registry tell the two apart: both build the same directories,
//! each pushes to repositories of its own, which are new in each round, so that the other's layers
//! are of no use to it.

use std::fs;

use anyhow::Result;
use clap::ValueEnum;
use tempfile::TempDir;

use super::buildx::Buildx;
use super::cluster::Cluster;
use super::contest::{Built, Contest, Figure, Request, Sides, Task};
use super::ours::{self, Mode, Ours};
use super::report::{self, Report, Side};
use super::slow_link::SlowLink;
use super::workload::{self, Content};
use super::{Interrupt, Options};

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// 20 000 files with 200 MB that do not compress: all new, unchanged, one file changed.
    Tree,
    /// The same with text, as source code is.
    SourceTree,
    /// The source code, with the API server behind a slow link. (The registry is not: only we ask it anything.)
    SlowSourceTree,
    /// One file of 512 MiB: all new, unchanged, changed.
    BigFile,
    /// A Dockerfile of three lines that was built before.
    Small,
    /// Five stages, on a daemon that knows nothing, from the cache in the registry.
    RegistryCache,
}

pub(super) fn run(options: &Options<Case>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let interrupt = Interrupt::listen(&runtime)?;
    let mut cluster = Cluster::up(runtime)?;
    let measured = measure(&mut cluster, &interrupt, options);
    println!("removing the daemons");
    let removed = cluster.remove_namespaces();
    let report = measured?;
    removed?;
    report::publish("buildkit", &[report])
}

fn measure(cluster: &mut Cluster, interrupt: &Interrupt, options: &Options<Case>) -> Result<Report> {
    let (namespace, peers_namespace) =
        (cluster.create_namespace("ours")?, cluster.create_namespace("buildx")?);
    let registry = cluster.variable("GARDEN_TEST_REGISTRY")?;
    // A copy, which a slow link changes.
    let directory = TempDir::new()?;
    let kubeconfig = directory.path().join("kubeconfig");
    fs::copy(cluster.kubeconfig(), &kubeconfig)?;
    let ours = Ours {
        kubeconfig: kubeconfig.clone(),
        namespace,
        registry: registry.clone(),
        mode: Mode::ClusterBuildkit { image: cluster.variable("GARDEN_TEST_BUILDKIT_IMAGE")? },
        environment: Vec::new(),
    };
    let theirs = Buildx::new(cluster, kubeconfig.clone(), peers_namespace)?;
    let peer = theirs.describe()?;
    let mut contest =
        Contest::new(Daemons { cluster, ours, theirs }, peer, options.rounds, interrupt.clone());
    let measured = contest.sides.start(interrupt).and_then(|()| {
        options.chosen().try_for_each(|case| match case {
            Case::Tree => tree(&mut contest, "20 000 files", Content::Noise),
            Case::SourceTree => tree(&mut contest, "20 000 source files", Content::Source),
            Case::SlowSourceTree => {
                let _link = SlowLink::lead(&kubeconfig, &registry)?;
                tree(&mut contest, "20 000 source files on a slow link", Content::Source)
            }
            Case::BigFile => big_file(&mut contest),
            Case::Small => small(&mut contest),
            Case::RegistryCache => registry_cache(&mut contest),
        })
    });
    // Whether or not it got as far as to have a daemon; what is in the namespace goes with that.
    let removed = contest.sides.theirs.remove();
    measured?;
    removed?;
    Ok(contest.report)
}

struct Daemons<'a> {
    cluster: &'a Cluster,
    ours: Ours,
    theirs: Buildx,
}

impl Daemons<'_> {
    fn start(&self, interrupt: &Interrupt) -> Result<()> {
        println!("starting the daemons");
        self.theirs.start(self.cluster)?;
        interrupt.check()?;
        let anything = workload::small(&self.cluster.variable("GARDEN_TEST_BASE_IMAGE")?)?;
        self.ours.build(&Request::new(anything.path(), "first"))?;
        self.cluster.keep_state_in_memory(&self.ours.namespace, ours::DEPLOYMENT)
    }
}

impl Sides for Daemons<'_> {
    fn build(&self, side: Side, request: &Request) -> Result<Built> {
        match side {
            Side::Ours => self.ours.build(request),
            Side::Theirs => self.theirs.build(request),
        }
    }

    fn forget(&mut self) -> Result<()> {
        self.cluster.prune(&self.ours.namespace)?;
        self.cluster.prune(&self.theirs.namespace)
    }
}

fn tree(contest: &mut Contest<Daemons<'_>>, what: &str, kind: Content) -> Result<()> {
    println!("writing {what}");
    let directory = workload::tree(kind)?;
    contest.cold_unchanged_changed(what, directory.path(), workload::FILE_IN_TREE)
}

fn big_file(contest: &mut Contest<Daemons<'_>>) -> Result<()> {
    println!("writing 512 MiB");
    let directory = workload::big_file()?;
    contest.cold_unchanged_changed("512 MiB file", directory.path(), workload::BIG_FILE)
}

fn small(contest: &mut Contest<Daemons<'_>>) -> Result<()> {
    use Figure::{Library, PeakMemory, Whole};
    let directory = workload::small(&contest.sides.cluster.variable("GARDEN_TEST_BASE_IMAGE")?)?;
    let first = Request::new(directory.path(), "small");
    contest.sides.ours.build(&first)?;
    contest.sides.theirs.build(&first)?;
    for round in 0..contest.rounds {
        let unchanged = Request { ours: Task::FindBuilt, ..first.clone() };
        contest.both(round, "three lines, unchanged", &unchanged, &[Whole, Library, PeakMemory])?;
        let forced = Request { ours: Task::BuildAnyway, ..first.clone() };
        contest.both(round, "three lines, unchanged, built anyway", &forced, &[Whole, Library])?;
    }
    Ok(())
}

fn registry_cache(contest: &mut Contest<Daemons<'_>>) -> Result<()> {
    let directory = workload::stages(&contest.sides.cluster.variable("GARDEN_TEST_BASE_IMAGE")?)?;
    let first = Request { registry_cache: true, ..Request::new(directory.path(), "stages") };
    println!("filling the caches in the registry");
    contest.sides.ours.build(&first)?;
    contest.sides.theirs.build(&first)?;
    for round in 0..contest.rounds {
        contest.forget()?;
        // So that there is something to build, after all that comes from the cache.
        workload::change(&directory.path().join(workload::APPLICATION), round)?;
        let changed = Request { tag: format!("round-{round}"), ..first.clone() };
        contest.both(round, "five stages, from the registry's cache", &changed, &[Figure::Whole])?;
    }
    Ok(())
}
