//! The mode kaniko with its context service, and what one does by hand: `tar | gzip | kubectl run -i` with the same
//! executor and the same flags. On one cluster, pushing to one registry.
//!
//! The context is compared with `tar | kubectl exec`, which other tools send it with, and with rsync: ours is the step that
//! sends the context, theirs the whole transfer into a pod that is there already.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::cluster::Cluster;
use super::contest::{Built, Contest, Figure, Request, Sides, Task};
use super::kubectl::Kubectl;
use super::ours::{Mode, Ours};
use super::report::{self, Report, Side};
use super::workload::{self, Content};
use super::{Interrupt, Options};

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// A Dockerfile of three lines.
    Small,
    /// 20 000 files with 200 MB that do not compress: all new, one file changed, that change taken back.
    Tree,
    /// The same with text, as source code is.
    SourceTree,
}

/// Where the context service keeps what it has been sent.
const PACKS: &str = "/garden/packs/v1";

pub(super) fn run(options: &Options<Case>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let interrupt = Interrupt::listen(&runtime)?;
    let mut cluster = Cluster::up(runtime)?;
    let measured = measure(&mut cluster, &interrupt, options);
    println!("removing what was made in the cluster");
    let removed = cluster.remove_namespaces();
    let reports = measured?;
    removed?;
    report::publish("kaniko", &reports)
}

fn measure(cluster: &mut Cluster, interrupt: &Interrupt, options: &Options<Case>) -> Result<[Report; 2]> {
    let (namespace, peers_namespace) =
        (cluster.create_namespace("ours")?, cluster.create_namespace("kubectl")?);
    let registry = cluster.variable("GARDEN_TEST_REGISTRY")?;
    let base_image = cluster.variable("GARDEN_TEST_BASE_IMAGE")?;
    let image = cluster.variable("GARDEN_TEST_KANIKO_DEBUG_IMAGE")?;
    let kubectl = Kubectl { kubeconfig: cluster.kubeconfig(), namespace: peers_namespace, registry, image };
    let ours = Ours {
        kubeconfig: cluster.kubeconfig(),
        namespace,
        registry: kubectl.registry.clone(),
        mode: Mode::Kaniko { image: kubectl.image.clone() },
        environment: Vec::new(),
    };
    kubectl.start_receiver()?;
    kubectl.install_rsync()?;
    let small = workload::small(&base_image)?;
    println!("starting the context service");
    ours.build(&Request::new(small.path(), "first"))?;
    let peer = "kubectl run -i".to_owned();
    let mut contest = Contest::new(Pods { ours, kubectl }, peer, options.rounds, interrupt.clone());
    let mut rsync = Report::new("rsync".to_owned());
    options.chosen().try_for_each(|case| match case {
        Case::Small => three_lines(&mut contest, small.path()),
        Case::Tree => tree(&mut contest, &mut rsync, "20 000 files", Content::Noise),
        Case::SourceTree => tree(&mut contest, &mut rsync, "20 000 source files", Content::Source),
    })?;
    Ok([contest.report, rsync])
}

fn three_lines(contest: &mut Contest<Pods>, directory: &Path) -> Result<()> {
    for round in 0..contest.rounds {
        workload::change(&directory.join(workload::APPLICATION), round)?;
        let request = Request::new(directory, &format!("small-{round}"));
        let ours = contest.both(round, "three lines", &request, &[Figure::Whole, Figure::PeakMemory])?;
        record_pod_start(contest, "three lines", &ours)?;
    }
    Ok(())
}

/// Compares the start of our build's pod with that of one that does nothing else.
fn record_pod_start(contest: &mut Contest<Pods>, what: &str, ours: &Built) -> Result<()> {
    let ours = ours.asked_for_context.context("no pod asked for the context")?;
    let theirs = contest.sides.kubectl.start_pod()?;
    contest.report.record_both(&format!("{what}: until the pod asks for the context"), "s", ours, theirs);
    Ok(())
}

fn tree(contest: &mut Contest<Pods>, rsync: &mut Report, what: &str, kind: Content) -> Result<()> {
    use Figure::{Context, PeakMemory, Whole};
    println!("writing {what}");
    let directory = workload::tree(kind)?;
    let file = directory.path().join(workload::FILE_IN_TREE);
    for round in 0..contest.rounds {
        let repository = format!("{}-{round}", what.replace(' ', "-"));
        let first = Request::new(directory.path(), &repository);
        contest.forget()?;
        let mut both = |contest: &mut Contest<Pods>, what: &str, request: &Request, figures: &[Figure]| {
            let ours = contest.both(round, what, request, figures)?;
            let theirs = contest.sides.kubectl.synchronise(&request.directory)?;
            println!("{what}: rsync sent the context in {theirs:.2} s");
            let sent = ours.context.context("no context was sent")?;
            rsync.record_both(&format!("{what}: context"), "s", sent, theirs);
            anyhow::Ok(ours)
        };
        both(contest, &format!("{what}, cold"), &first, &[Whole, Context, PeakMemory])?;
        let original = std::fs::read(&file)?;
        workload::change(&file, round)?;
        let changed = Request { tag: "changed".to_owned(), ..first.clone() };
        let one_changed = format!("{what}, one changed");
        let ours = both(contest, &one_changed, &changed, &[Whole, Context])?;
        record_pod_start(contest, &one_changed, &ours)?;
        std::fs::write(&file, original)?;
        let back = Request { tag: "back".to_owned(), ours: Task::BuildAnyway, ..first };
        both(contest, &format!("{what}, change taken back"), &back, &[Whole, Context])?;
    }
    Ok(())
}

struct Pods {
    ours: Ours,
    kubectl: Kubectl,
}

impl Sides for Pods {
    fn build(&self, side: Side, request: &Request) -> Result<Built> {
        match side {
            Side::Ours => self.ours.build(request),
            Side::Theirs => self.kubectl.build(request),
        }
    }

    /// Of the peers, only rsync finds what it has sent.
    fn forget(&mut self) -> Result<()> {
        self.kubectl.empty_receiver()?;
        let deployment = "deployment/garden-util";
        let empty = format!("rm -rf {PACKS}");
        self.kubectl.succeed(&self.ours.namespace, &["exec", deployment, "--", "/busybox/sh", "-c", &empty])
    }
}
