//! Installing what builds need in the cluster besides builders.

use std::sync::Arc;
use std::time::Duration;

use garden_build_core::{BuildControl, Error, ErrorKind, EventSink, Remedy, Result, StepKind};
use garden_cluster::InClusterRegistry;
use garden_config::ProviderConfig;
use tokio_util::sync::CancellationToken;

use crate::mode::Service;
use crate::{Builder, Initialized, Operation};

impl Builder {
    /// Installs what builds need in the cluster besides builders: the registry within the cluster, if images go there,
    /// with cluster-docker the Docker daemon, and with kaniko the context service. Run it once for a cluster, and again after a change of their options or of the
    /// version of garden-build: images stay. Await it, or read its events.
    ///
    /// It waits until they serve, and has nodes pull an image from the registry; see
    /// [`InClusterRegistry::check_nodes`](garden_cluster::InClusterRegistry::check_nodes). What stands in the way is said
    /// within seconds where the cluster shows it: no storage class, a host port that is refused or taken, a container that
    /// may not be privileged, an image that cannot be pulled, a quota. A Docker daemon that has to be replaced has an hour to
    /// end its builds.
    ///
    /// Where the image of something that is installed is private, those of the provider's `imagePullSecrets` that have a user and a password for
    /// its registry are copied to its namespace; see [`ensure_pull_secrets`](Self::ensure_pull_secrets). Run it again when such a Secret
    /// is renewed: builds do so only with what is theirs, the `BuildKit` daemon and the context service.
    ///
    /// With the provider's `networkPolicies`, there is a `NetworkPolicy` for each of these, and for the `BuildKit` daemon of the project's namespace with
    /// cluster-buildkit. Without, those that an earlier call has made are removed.
    ///
    /// A provider `local-kubernetes` needs no such call: its first build does the same. Nor is it needed for the context
    /// service: the first build installs it. But builds use it with whatever settings it has, so that users with different ones
    /// do not replace it in turn; this gives it those of the provider.
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
        let (services, target) = (self.services(), self.target().clone());
        self.begin("install what builds need".to_owned(), |events, cancel| async move {
            target.registries.begin();
            if services.are_none() {
                let place = target.description();
                events
                    .step(StepKind::Other, format!("images go to {place}, so there is nothing to install"))
                    .done();
            }
            let installing = services.install(&events, &cancel);
            if services.are_none() {
                return installing.await;
            }
            target.reporting_silence(&events, installing).await
        })
    }
}

/// What builds need in the cluster besides builders.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    /// The registry in the cluster, if images go there.
    pub(crate) registry: Option<InClusterRegistry>,
    /// What the build mode needs.
    pub(crate) of_mode: Option<Arc<dyn Service>>,
}

impl Services {
    fn are_none(&self) -> bool {
        self.registry.is_none() && self.of_mode.as_ref().is_none_or(|service| service.installing().is_none())
    }

    /// Installs, or upgrades, and checks.
    async fn install(&self, events: &EventSink, cancel: &CancellationToken) -> Result<Initialized> {
        // Applying an object again changes nothing, so this may end anywhere.
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(cancelled(&[])),
            installed = self.apply_and_wait(events) => installed?,
        }
        let checked = match &self.registry {
            Some(registry) => {
                let name = ProviderConfig::IN_CLUSTER_REGISTRY;
                let step = events.step(StepKind::Confirm, format!("have nodes pull an image from {name}"));
                let cx = BuildControl::new(events.clone(), cancel.clone(), Duration::MAX);
                Some(step.end(registry.check_nodes(&cx).await.map_err(Error::from))?)
            }
            None => None,
        };
        if cancel.is_cancelled() {
            return Err(cancelled(&checked.unwrap_or_default().left));
        }
        let registry_nodes = checked.map(|checked| checked.nodes);
        let mut initialized = Initialized { registry_nodes, docker_daemon: false, context_service: false };
        if let Some(service) = &self.of_mode {
            service.note(&mut initialized);
        }
        Ok(initialized)
    }

    /// Installs unless all is there already, whatever its version.
    pub(crate) async fn unless_installed(
        &self,
        events: &EventSink,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let has_registry = match &self.registry {
            Some(registry) => registry.is_installed().await?,
            None => true,
        };
        let has_service = match &self.of_mode {
            Some(service) => service.is_installed().await?,
            None => true,
        };
        if has_registry && has_service {
            return Ok(());
        }
        Box::pin(self.install(events, cancel)).await.map(drop)
    }

    /// Applies everything, then waits for everything, so that all of it starts at the same time.
    async fn apply_and_wait(&self, events: &EventSink) -> Result<()> {
        if let Some(registry) = &self.registry {
            let step = events.step(
                StepKind::Install,
                format!("install the registry in Namespace {}", registry.namespace()),
            );
            let ended = Box::pin(registry.apply(step.events())).await.map_err(Error::from);
            step.end(ended)?;
        }
        if let Some(service) = &self.of_mode {
            match service.installing() {
                Some(what) => {
                    let step = events.step(StepKind::Install, what);
                    let ended = service.apply(step.events()).await;
                    step.end(ended)?;
                }
                None => service.apply(events).await?,
            }
        }
        if let Some(registry) = &self.registry {
            let step = events.step(StepKind::Wait, "wait for the registry and its proxy on each node");
            let ended = Box::pin(registry.ready(step.events())).await.map(drop).map_err(Error::from);
            step.end(ended)?;
        }
        if let Some(service) = &self.of_mode
            && let Some(what) = service.waiting()
        {
            let step = events.step(StepKind::Wait, what);
            let ended = service.ready(step.events()).await;
            step.end(ended)?;
        }
        Ok(())
    }
}

/// States that it was cancelled, and which objects may be `left` that were to be removed.
fn cancelled(left: &[String]) -> Error {
    let mut message = "the installation was cancelled".to_owned();
    if !left.is_empty() {
        message =
            format!("{message}; {} may be left, and goes with the next installation", left.join(" and "));
    }
    Error::new(ErrorKind::Cancelled, message)
        .with_hint(Remedy::install("what is installed already stays; install again (`init`) to complete it"))
}
