//! Installing what builds need in the cluster besides builders.

use garden_build_core::{Error, ErrorKind, EventSink, Result, event_channel};
use garden_cluster::InClusterRegistry;
use tokio_util::sync::CancellationToken;

use crate::target::{Target, tell};
use crate::{Builder, Initialized, Operation};

impl Builder {
    /// Installs what builds need in the cluster besides builders: the registry within the cluster, if images go there.
    /// Run it once for a cluster, and again after a change of its options or of the version of garden-build: images
    /// stay. Await it, or read its events.
    ///
    /// It waits until the registry serves, and has nodes pull an image from it; see
    /// [`InClusterRegistry::check_nodes`](garden_cluster::InClusterRegistry::check_nodes). What stands in the way is said
    /// within seconds where the cluster shows it: no storage class, a host port that is refused or taken, an
    /// image that cannot be pulled, a quota.
    ///
    /// A provider `local-kubernetes` needs no such call: its first build does the same.
    ///
    /// ```no_run
    /// # async fn example(builder: garden_build::Builder) -> garden_build::Result<()> {
    /// let mut init = builder.init();
    /// while let Some(event) = init.next_event().await {
    ///     println!("{event}");
    /// }
    /// println!("{:?}", init.await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn init(&self) -> Operation<Initialized> {
        let target = self.target().clone();
        let (events, stream) = event_channel();
        let cancel = CancellationToken::new();
        let cancelled = cancel.clone();
        Operation::spawn(stream, cancel, async move { run(&target, &events, &cancelled).await })
    }
}

/// Installs, or upgrades, and checks.
pub(crate) async fn run(
    target: &Target,
    events: &EventSink,
    cancel: &CancellationToken,
) -> Result<Initialized> {
    let Some(registry) = target.in_cluster() else {
        let place = target.description();
        events.step(format!("images go to {place}, so there is nothing to install")).done();
        return Ok(Initialized::NothingToInstall);
    };
    // Applying an object again changes nothing, so this may end anywhere.
    tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(cancelled()),
        installed = install(registry, events) => installed?,
    }
    let name = garden_config::ProviderConfig::IN_CLUSTER_REGISTRY;
    let step = events.step(format!("have nodes pull an image from {name}"));
    let nodes = step.end(registry.check_nodes(cancel).await.map_err(Error::from))?;
    if cancel.is_cancelled() { Err(cancelled()) } else { Ok(Initialized::Registry { nodes }) }
}

/// Does so unless the registry is there already, whatever its version.
pub(crate) async fn unless_installed(
    target: &Target,
    events: &EventSink,
    cancel: &CancellationToken,
) -> Result<()> {
    match target.in_cluster() {
        Some(registry) if !registry.is_installed().await? => {
            Box::pin(run(target, events, cancel)).await.map(drop)
        }
        _ => Ok(()),
    }
}

async fn install(registry: &InClusterRegistry, events: &EventSink) -> Result<()> {
    let step = events.step(format!("install the registry in Namespace {}", registry.namespace()));
    let mut told = tell(events);
    step.end(Box::pin(registry.apply(&mut told)).await.map_err(Error::from))?;
    let step = events.step("wait for the registry and its proxy on each node");
    step.end(Box::pin(registry.ready(&mut told)).await.map(drop).map_err(Error::from))
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the installation was cancelled")
        .with_hint("what is installed already stays; run `Builder::init` again to complete it")
}
