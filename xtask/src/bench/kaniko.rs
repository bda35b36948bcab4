//! The mode kaniko with its context service, and what one does by hand: `tar | gzip | kubectl run -i` with the same
//! executor and the same flags. On one cluster, pushing to one registry.
//!
//! The context is compared with `tar | kubectl exec`, which other tools send it with: ours is the step that sends the
//! context, theirs the whole transfer into a pod that is there already.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::cluster::Cluster;
use super::contest::{Built, Contest, Figure, Request, Sides};
use super::ours::{Mode, Ours};
use super::process::{self, Reports};
use super::report::{self, Side};
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
    let report = measured?;
    removed?;
    report::publish("kaniko", &[report])
}

fn measure(cluster: &mut Cluster, interrupt: &Interrupt, options: &Options<Case>) -> Result<report::Report> {
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
    let small = workload::small(&base_image)?;
    println!("starting the context service");
    ours.build(&Request::new(small.path(), "first"))?;
    let peer = "kubectl run -i".to_owned();
    let mut contest = Contest::new(Pods { ours, kubectl }, peer, options.rounds, interrupt.clone());
    options.chosen().try_for_each(|case| match case {
        Case::Small => (0..contest.rounds).try_for_each(|round| {
            workload::change(&small.path().join(workload::APPLICATION), round)?;
            let request = Request::new(small.path(), &format!("small-{round}"));
            contest.both(round, "three lines", &request, &[Figure::Whole, Figure::PeakMemory])
        }),
        Case::Tree => tree(&mut contest, "20 000 files", Content::Noise),
        Case::SourceTree => tree(&mut contest, "20 000 source files", Content::Source),
    })?;
    Ok(contest.report)
}

fn tree(contest: &mut Contest<Pods>, what: &str, kind: Content) -> Result<()> {
    use Figure::{Context, PeakMemory, Whole};
    println!("writing {what}");
    let directory = workload::tree(kind)?;
    let file = directory.path().join(workload::FILE_IN_TREE);
    for round in 0..contest.rounds {
        let repository = format!("{}-{round}", what.replace(' ', "-"));
        let first = Request::new(directory.path(), &repository);
        contest.forget()?;
        contest.both(round, &format!("{what}, cold"), &first, &[Whole, Context, PeakMemory])?;
        let original = std::fs::read(&file)?;
        workload::change(&file, round)?;
        let changed = Request { tag: "changed".to_owned(), ..first.clone() };
        contest.both(round, &format!("{what}, one changed"), &changed, &[Whole, Context])?;
        std::fs::write(&file, original)?;
        let back = Request { tag: "back".to_owned(), force: true, ..first };
        contest.both(round, &format!("{what}, change taken back"), &back, &[Whole, Context])?;
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

    /// The peer remembers nothing.
    fn forget(&mut self) -> Result<()> {
        let deployment = "deployment/garden-util";
        let empty = format!("rm -rf {PACKS}");
        self.kubectl.succeed(&self.ours.namespace, &["exec", deployment, "--", "/busybox/sh", "-c", &empty])
    }
}

/// The name of the pod that contexts are sent to.
const RECEIVER: &str = "receiver";

/// The command `kubectl`.
struct Kubectl {
    kubeconfig: std::path::PathBuf,
    namespace: String,
    registry: String,
    image: String,
}

impl Kubectl {
    fn start_receiver(&self) -> Result<()> {
        let image = format!("--image={}", self.image);
        let pod = ["run", RECEIVER, &image, "--restart=Never", "--command", "--", "/busybox/sleep", "100000"];
        self.succeed(&self.namespace, &pod)?;
        let ready = ["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{RECEIVER}")];
        self.succeed(&self.namespace, &ready)
    }

    fn build(&self, request: &Request) -> Result<Built> {
        let name = format!("{}-{}", request.repository, request.tag);
        let repository = format!("{}/{}/{}", self.registry, self.namespace, request.repository);
        let mut command = self.shell(
            "tar -C \"$DIRECTORY\" -cf - . | gzip -1 | kubectl run \"$NAME\" --quiet --rm -i --restart=Never --image=\"$IMAGE\" -- \
             --context=tar://stdin --destination=\"$REPOSITORY:$TAG\" --insecure-registry=\"$REGISTRY\" --force \
             --cache=true --cache-repo=\"$REPOSITORY/cache\" --push-retry=3 --image-download-retry=3 >&2",
            request,
        );
        command.env("NAME", name).env("REPOSITORY", repository);
        let needed = process::run(&mut command, b"", Reports::OnErrors, |_| ())?;
        Ok(Built { needed, in_process: None, context: Some(self.deliver(request)?) })
    }

    /// Sends the whole context, and returns how many seconds that took.
    fn deliver(&self, request: &Request) -> Result<f64> {
        let mut command = self.shell(
            "tar -C \"$DIRECTORY\" -cf - . | kubectl exec -i \"$NAME\" -- /busybox/sh -c \
             'rm -rf /received && mkdir /received && tar -xf - -C /received'",
            request,
        );
        let mut empty = self.shell("kubectl exec \"$NAME\" -- /busybox/rm -rf /received", request);
        if !empty.env("NAME", RECEIVER).status()?.success() {
            bail!("what was sent before could not be removed");
        }
        let started = Instant::now();
        if !command.env("NAME", RECEIVER).status()?.success() {
            bail!("the context could not be sent with kubectl exec");
        }
        Ok(started.elapsed().as_secs_f64())
    }

    fn shell(&self, script: &str, request: &Request) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-o", "pipefail", "-c", &script.replace("kubectl ", "kubectl -n \"$NAMESPACE\" ")])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("NAMESPACE", &self.namespace)
            .env("DIRECTORY", &request.directory)
            .env("IMAGE", &self.image)
            .env("REGISTRY", &self.registry)
            .env("TAG", &request.tag);
        command
    }

    fn succeed(&self, namespace: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig).args(["-n", namespace]).args(arguments);
        let output = command.output().context("starting kubectl")?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {} failed: {}", arguments.join(" "), errors.trim_end());
        }
        Ok(())
    }
}
