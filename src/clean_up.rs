//! Cleaning up the registry within the cluster, and the Docker daemon there.

#[cfg(feature = "docker")]
mod daemon;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind, EventSink, LogSource, Result, StepKind, WarningCode};
use garden_cluster::{Cluster, InClusterRegistry, NamedImages, images_in_use};
#[cfg(feature = "docker")]
use garden_docker::DaemonCleanUpReport;
use garden_registry::RegistryClient;
use garden_registry::clean_up::{
    CleanUpPlan, CleanUpRules, Deletion, DeletionList, Deletions, FailedDeletion, ImagesInUse, Inventory,
    KnownManifests, StoredNames,
};
use serde::{Deserialize, Serialize};

use crate::target::Target;
use crate::{Builder, Operation, remedies};

/// What a clean-up of the registry within the cluster keeps, besides images in use.
///
/// ```
/// use std::time::Duration;
/// use garden_build::CleanUpOptions;
///
/// let options = CleanUpOptions::new()
///     .keep_younger_than(Duration::from_secs(24 * 60 * 60))
///     .caches_older_than(Duration::from_secs(30 * 24 * 60 * 60))
///     .also_in_use("127.0.0.1:5000/shop/tool:v-0123456789abcdef0123");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
#[non_exhaustive]
pub struct CleanUpOptions {
    /// Images pushed less than this long ago are kept, as somebody may be about to use them. Default: two hours.
    pub keep_younger_than: Duration,
    /// Build caches pushed longer ago than this are deleted, as far as they are not younger than
    /// `keep_younger_than`. Default: none are.
    pub caches_older_than: Option<Duration>,
    /// Images that are in use by what cannot be seen: references with a tag or a digest, or digests. What
    /// Secrets name, or of another cluster, for example. Default: none.
    pub also_in_use: Vec<String>,
}

impl Default for CleanUpOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl CleanUpOptions {
    /// The defaults.
    pub fn new() -> Self {
        let rules = CleanUpRules::default();
        Self {
            keep_younger_than: rules.keep_younger_than,
            caches_older_than: rules.caches_older_than,
            also_in_use: Vec::new(),
        }
    }

    /// Sets [`keep_younger_than`](Self::keep_younger_than).
    pub fn keep_younger_than(mut self, age: Duration) -> Self {
        self.keep_younger_than = age;
        self
    }

    /// Sets [`caches_older_than`](Self::caches_older_than).
    pub fn caches_older_than(mut self, age: Duration) -> Self {
        self.caches_older_than = Some(age);
        self
    }

    /// Adds to [`also_in_use`](Self::also_in_use).
    pub fn also_in_use(mut self, image: impl Into<String>) -> Self {
        self.also_in_use.push(image.into());
        self
    }
}

/// What a clean-up has done. What is about the registry is empty if images go to one outside of the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CleanUpReport {
    /// What was decided, with the reason for everything that is kept.
    pub plan: CleanUpPlan,
    /// What is deleted now.
    pub deleted: Vec<Deletion>,
    /// What could not be deleted, and why. The next clean-up tries again.
    pub failed: Vec<FailedDeletion>,
    /// How many bytes of blobs the registry stored before the first deletion.
    pub stored_bytes_before: u64,
    /// How many it stores now. If somebody has pushed meanwhile, that is in it.
    pub stored_bytes_after: u64,
    /// What was done in the Docker daemon within the cluster; `None` if another mode builds.
    #[cfg(feature = "docker")]
    pub docker_daemon: Option<DaemonCleanUpReport>,
}

impl fmt::Display for CleanUpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.plan)?;
        writeln!(f, "deleted: {}", self.deleted.len())?;
        for FailedDeletion { repository, digest, reason, .. } in &self.failed {
            writeln!(f, "not deleted: {repository}@{digest}: {reason}")?;
        }
        write!(f, "stored: {} bytes before, {} now", self.stored_bytes_before, self.stored_bytes_after)?;
        #[cfg(feature = "docker")]
        self.docker_daemon.iter().try_for_each(|daemon| write!(f, "\n{daemon}"))?;
        Ok(())
    }
}

impl Builder {
    /// Plans a clean-up of the registry within the cluster: what [`clean_up_registry`](Self::clean_up_registry) would
    /// delete there, what it would keep and why, and how much room that would free. Changes nothing.
    ///
    /// # Errors
    /// As those of [`clean_up_registry`](Self::clean_up_registry), when awaited.
    pub fn plan_clean_up(&self, options: CleanUpOptions) -> Operation<CleanUpPlan> {
        CleanUp::spawn(self, options, async |clean_up| match clean_up.registry {
            Some(registry) => registry.plan().await,
            None => Err(clean_up.nothing_to_do()),
        })
    }

    /// Deletes the images in the registry within the cluster that nothing uses, and has it free their room. Await it, or
    /// read its events.
    ///
    /// An image counts as used if any workload of the cluster names it, in whatever namespace, running or not; or if its version or
    /// digest stands in any text of a workload, a `ConfigMap` or a custom resource. Secrets are not read, nor what the user may not
    /// list: the events say so. Kept are also build caches, what was pushed a short time ago, and everything that garden-build has not built: see
    /// [`CleanUpOptions`]. While the registry frees room, it serves images but takes no pushes; builds of garden-build wait
    /// for that. It may be run as often as one likes, by several at once, and may end anywhere: the next run does the rest.
    ///
    /// With cluster-docker, the Docker daemon in the cluster then forgets what garden-build has built in it and the registry has
    /// no more, and deletes what belongs to no image. That it does for a registry outside of the cluster as well. Builds
    /// that run are waited for, ten minutes at most, and others wait for its end.
    ///
    /// ```no_run
    /// # async fn example(builder: garden_build::Builder) -> garden_build::Result<()> {
    /// use garden_build::CleanUpOptions;
    ///
    /// println!("{}", builder.plan_clean_up(CleanUpOptions::new()).await?);
    /// let report = builder.clean_up_registry(CleanUpOptions::new()).await?;
    /// for failed in &report.failed {
    ///     println!("{}@{} is still there: {}", failed.repository, failed.digest, failed.reason);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When awaited: if images go to another registry, whose own retention policy is what to use, and no Docker daemon in the
    /// cluster builds; if what is in use
    /// cannot be found out, as a kind of workload may not be listed (then nothing is deleted); if the
    /// registry does not serve, or its collection fails. An image that cannot be deleted is not an error; it is in the report.
    pub fn clean_up_registry(&self, options: CleanUpOptions) -> Operation<CleanUpReport> {
        CleanUp::spawn(self, options, CleanUp::run)
    }
}

/// A clean-up of all that fills up.
struct CleanUp {
    target: Target,
    /// The registry within the cluster, if images go there.
    registry: Option<RegistryCleanUp>,
    /// The Docker daemon within the cluster, if it builds.
    #[cfg(feature = "docker")]
    daemon: Option<daemon::DaemonStep>,
}

impl CleanUp {
    /// Runs `work` for a clean-up of what `builder` uses.
    fn spawn<T, F>(
        builder: &Builder,
        options: CleanUpOptions,
        work: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Operation<T>
    where
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T>> + Send,
    {
        let (target, cache_tags) = (builder.target().clone(), builder.cache_tags().clone());
        #[cfg(feature = "docker")]
        let daemon = builder.daemon().cloned();
        builder.begin("clean up the registry".to_owned(), |events, cancel| async move {
            target.registries.begin();
            let (asked, heard) = (target.clone(), events.clone());
            let working = async {
                let registry = RegistryCleanUp::new(&target, cache_tags, &options, &events).await?;
                #[cfg(feature = "docker")]
                let daemon = daemon.map(|daemon| daemon::DaemonStep { daemon, options, events });
                let clean_up = Self {
                    target,
                    registry,
                    #[cfg(feature = "docker")]
                    daemon,
                };
                work(clean_up).await
            };
            let working = asked.reporting_silence(&heard, working);
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the clean-up was cancelled")
                    .with_hint("what is deleted already is deleted; the next clean-up does the rest")),
                outcome = working => outcome,
            }
        })
    }

    async fn run(self) -> Result<CleanUpReport> {
        let report = match &self.registry {
            Some(registry) => Some(registry.run().await?),
            None => None,
        };
        #[cfg(feature = "docker")]
        if let Some(daemon) = &self.daemon {
            let mut report = report.unwrap_or_default();
            // After the registry, which decides what may be forgotten.
            report.docker_daemon = Some(daemon.run(&self.target, self.registry.is_some()).await?);
            return Ok(report);
        }
        report.ok_or_else(|| self.nothing_to_do())
    }

    fn nothing_to_do(&self) -> Error {
        let place = self.target.description();
        let message = format!("{place} is not a registry that garden-build has installed in a cluster");
        Error::new(ErrorKind::Unsupported, message).with_hint(
            "use its own retention policy: other programs than those of this cluster may need its images",
        )
    }
}

/// Plans a clean-up of the registry within the cluster, and does it.
struct RegistryCleanUp {
    cluster: Cluster,
    registry: InClusterRegistry,
    client: RegistryClient,
    rules: CleanUpRules,
    also_in_use: Vec<String>,
    events: EventSink,
}

impl RegistryCleanUp {
    /// `None` if images go elsewhere. `cache_tags` are those of build caches.
    async fn new(
        target: &Target,
        cache_tags: BTreeSet<String>,
        options: &CleanUpOptions,
        events: &EventSink,
    ) -> Result<Option<Self>> {
        let Some(registry) = target.in_cluster().cloned() else { return Ok(None) };
        let mut rules = CleanUpRules::default();
        rules.keep_younger_than = options.keep_younger_than;
        rules.caches_older_than = options.caches_older_than;
        rules.cache_tags = cache_tags;
        Ok(Some(Self {
            cluster: target.cluster().clone(),
            registry,
            client: target.client().await?,
            rules,
            also_in_use: options.also_in_use.clone(),
            events: events.clone(),
        }))
    }

    /// Decides what would be deleted, and deletes nothing.
    async fn plan(&self) -> Result<CleanUpPlan> {
        let (inventory, in_use) = self.look(&mut KnownManifests::new(), "").await?;
        Ok(CleanUpPlan::new(&inventory, &in_use, &self.rules))
    }

    /// Deletes, and has the registry free the room. May end anywhere, as when this program dies: whatever is deleted
    /// by then is deleted cleanly, the registry ends its collection by itself, and the next clean-up does the rest.
    async fn run(&self) -> Result<CleanUpReport> {
        let mut known = KnownManifests::new();
        let (inventory, in_use) = self.look(&mut known, "").await?;
        let first = CleanUpPlan::new(&inventory, &in_use, &self.rules);
        // The first look at a large registry may take minutes, the second one does not.
        let (inventory, in_use) = self.look(&mut known, " now").await?;
        let plan = first.again(&inventory, &in_use, &self.rules);
        let list = plan.deletion_list(inventory.read_at);
        let Deletions { deleted, failed, .. } = self.delete(&list, plan.deletions.len()).await?;
        let step = self.events.step(StepKind::LookUp, "measure what the registry stores");
        let after = step.end(self.registry.storage().await.map_err(Error::from))?;
        Ok(CleanUpReport {
            plan,
            deleted,
            failed,
            stored_bytes_before: inventory.stored_bytes(),
            stored_bytes_after: after.stored_bytes(),
            #[cfg(feature = "docker")]
            docker_daemon: None,
        })
    }

    /// Looks at the registry first and then at what uses it, so that what was pushed and then used is seen as both.
    async fn look(&self, known: &mut KnownManifests, when: &str) -> Result<(Inventory, ImagesInUse)> {
        let step = self.events.step(StepKind::LookUp, format!("list what the registry stores{when}"));
        let inventory = step.end(self.inventory(known).await)?;
        let step =
            self.events.step(StepKind::LookUp, format!("read which images the cluster's objects name{when}"));
        let stored = StoredNames::of(&inventory);
        let named = images_in_use(&self.cluster, &stored).await.map_err(Error::from);
        if let Ok(NamedImages { not_listed, .. }) = &named
            && !not_listed.is_empty()
        {
            let kinds = not_listed.join(", ");
            step.log(
                LogSource::Builder,
                format!("not read, so that images which only these name are not in use: {kinds}"),
            );
        }
        let mut in_use = step.end(named)?.in_use;
        for image in &self.also_in_use {
            in_use.add(image, "the clean-up's options");
        }
        Ok((inventory, in_use))
    }

    async fn inventory(&self, known: &mut KnownManifests) -> Result<Inventory> {
        // One that is starting, or that cannot, is explained here.
        self.registry.takes_pushes(&self.events).await?;
        let listing = self.registry.storage().await?;
        let inventory = known.inventory(&listing, &self.client).await;
        inventory.map_err(|error| error.explain(&remedies::OF_REGISTRY_IN_CLUSTER))
    }

    /// Even if nothing is planned, the registry collects: a clean-up before this one may have come no further.
    async fn delete(&self, list: &DeletionList, planned: usize) -> Result<Deletions> {
        let what = match planned {
            0 => "have the registry free what belongs to no image".to_owned(),
            1 => "have the registry delete 1 manifest, and free what belongs to no image".to_owned(),
            count => format!("have the registry delete {count} manifests, and free what belongs to no image"),
        };
        let step = self.events.step(StepKind::CleanUp, what);
        let collected = Box::pin(self.registry.collect_garbage(list, &self.events)).await;
        let done = match collected {
            Ok(collected) => collected.deletions,
            Err(error) => return step.end(Err(Error::from(error))),
        };
        for Deletion { repository, digest, tags, .. } in &done.deleted {
            step.log(LogSource::Builder, format!("deleted {repository}@{digest} {}", tags.join(" ")));
        }
        for FailedDeletion { repository, digest, reason, .. } in &done.failed {
            let message = format!("{repository}@{digest} could not be deleted: {reason}");
            step.events().warn(WarningCode::ImageNotDeleted, message, None);
        }
        match done.failed.len() {
            0 => step.done(),
            failed => step.failed(format!("{failed} could not be deleted")),
        }
        Ok(done)
    }
}
