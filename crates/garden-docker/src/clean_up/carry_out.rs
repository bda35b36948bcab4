//! Asks the daemon and the registry, has the daemon forget names, and delete what belongs to none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as BollardError;
use bollard::models::ImageInspectMetadata;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, PruneBuildOptionsBuilder,
    PruneImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures::future::BoxFuture;
use garden_build_core::{EventSink, ImageReference, with_causes};
use k8s_openapi::jiff::Timestamp;

use super::plan::{DaemonImage, DaemonRules, InRegistry, UntagPlan, questions};
use super::report::{DaemonCleanUpReport, FailedUntag};
use super::usage::stored_bytes;
use crate::cluster::{ClusterDaemon, PodDialer};
use crate::{DockerDaemon, DockerError};

/// How long builds may keep the daemon to themselves before a clean-up gives up.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Asks the registry for an image by its name in the daemon.
pub type AskRegistry<'a> = &'a (dyn Fn(ImageReference) -> BoxFuture<'static, InRegistry> + Send + Sync);

/// Cleans up the daemon of a cluster.
#[derive(Debug)]
pub struct DaemonCleanUp<'a> {
    daemon: &'a ClusterDaemon,
    rules: DaemonRules,
}

/// What the daemon has.
struct Seen {
    images: Vec<DaemonImage>,
    /// The identifiers of containers' images.
    in_use: BTreeSet<String>,
    /// The daemon's time, by which its images are dated, in seconds since 1970.
    now: i64,
}

impl<'a> DaemonCleanUp<'a> {
    /// Prepares to clean up `daemon` by these rules.
    pub fn new(daemon: &'a ClusterDaemon, rules: DaemonRules) -> Self {
        Self { daemon, rules }
    }

    /// Has the daemon forget the images that the registry has no more, and delete what then belongs to none. It has no
    /// builds meanwhile: those that run are waited for, and new ones wait. May end anywhere; the next clean-up does the rest.
    ///
    /// # Errors
    /// If the daemon is not installed, cannot start, or does not answer.
    pub async fn run(
        &self,
        ask: AskRegistry<'_>,
        events: &EventSink,
    ) -> Result<DaemonCleanUpReport, DockerError> {
        let pod = self.daemon.running(events).await.map_err(DockerError::cluster)?;
        let dialer: Arc<PodDialer> = Arc::new(self.daemon.dialer(&pod));
        let daemon = DockerDaemon::over(dialer.clone())?;
        // The registry may take its time. Names that come up later stay until the next clean-up.
        let answers = self.answers(&look(&daemon).await?, ask).await;
        let stored_bytes_before = stored_bytes(&*dialer).await?;
        let Some(mut alone) = self.daemon.occupy_alone(&pod, PATIENCE).await.map_err(DockerError::cluster)?
        else {
            let stored_bytes_after = stored_bytes_before;
            let report = DaemonCleanUpReport {
                busy: true,
                stored_bytes_before,
                stored_bytes_after,
                ..Default::default()
            };
            return Ok(report);
        };
        let cleaned = Box::pin(alone.during(self.clean(&daemon, &dialer, &answers))).await;
        let report = cleaned
            .unwrap_or_else(|reason| Err(DockerError::cluster(self.daemon.lock_lost(&pod, &reason))))?;
        Ok(DaemonCleanUpReport { stored_bytes_before, ..report })
    }

    /// Cleans up while nobody builds.
    async fn clean(
        &self,
        daemon: &DockerDaemon,
        dialer: &PodDialer,
        answers: &BTreeMap<String, InRegistry>,
    ) -> Result<DaemonCleanUpReport, DockerError> {
        // What builds have done meanwhile counts: what was named again is young, for example.
        let Seen { images, in_use, now } = look(daemon).await?;
        let plan = UntagPlan::new(&images, &in_use, answers, &self.rules, now);
        let (untagged, failed) = untag(daemon.api().await?, plan.untag).await;
        prune(daemon, &self.rules).await?;
        let stored_bytes_after = stored_bytes(dialer).await?;
        Ok(DaemonCleanUpReport {
            untagged,
            failed,
            kept: plan.kept,
            stored_bytes_after,
            ..Default::default()
        })
    }

    async fn answers(&self, seen: &Seen, ask: AskRegistry<'_>) -> BTreeMap<String, InRegistry> {
        let mut answers = BTreeMap::new();
        for name in questions(&seen.images, &seen.in_use, &self.rules, seen.now) {
            let answer = match name.parse() {
                Ok(image) => ask(image).await,
                Err(_) => InRegistry::Unknown,
            };
            answers.insert(name, answer);
        }
        answers
    }
}

async fn look(daemon: &DockerDaemon) -> Result<Seen, DockerError> {
    let docker = daemon.api().await?;
    let failed = |action: &'static str| move |source| daemon.failed(action, source);
    let said = docker.info().await.map_err(failed("say its time"))?;
    let now = said.system_time.as_deref().and_then(seconds);
    let now = now.ok_or_else(|| DockerError::Unclear {
        address: daemon.address().to_owned(),
        what: "what time it is",
        reason: "its answer has none".to_owned(),
    })?;
    let all = ListContainersOptionsBuilder::new().all(true).build();
    let containers = docker.list_containers(Some(all)).await.map_err(failed("list its containers"))?;
    let in_use = containers.into_iter().filter_map(|container| container.image_id).collect();
    let listing = ListImagesOptionsBuilder::new().build();
    let listed = docker.list_images(Some(listing)).await.map_err(failed("list its images"))?;
    let mut images = Vec::new();
    for mut image in listed {
        // Older daemons call what has no name so.
        image.repo_tags.retain(|name| name != "<none>:<none>");
        if image.repo_tags.is_empty() {
            continue;
        }
        let named = match docker.inspect_image(&image.id).await {
            Ok(inspected) => inspected.metadata.as_ref().and_then(last_named),
            // It went in between.
            Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => continue,
            Err(error) => return Err(daemon.failed("show an image", error)),
        };
        // What was never named was so in the year 1.
        let touched = named.unwrap_or_default().max(image.created);
        images.push(DaemonImage { id: image.id, names: image.repo_tags, touched });
    }
    Ok(Seen { images, in_use, now })
}

/// Returns when an image was last given a name. The field's type depends on whether any crate of the program switches on bollard's feature `time` or
/// `chrono`; what it is in JSON does not.
fn last_named(metadata: &ImageInspectMetadata) -> Option<i64> {
    seconds(serde_json::to_value(metadata).ok()?["LastTagTime"].as_str()?)
}

fn seconds(time: &str) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

async fn untag(docker: &Docker, names: BTreeSet<String>) -> (Vec<String>, Vec<FailedUntag>) {
    let (mut untagged, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        // Not by force: what a container uses keeps its name.
        let options = RemoveImageOptionsBuilder::new().force(false).noprune(false).build();
        match docker.remove_image(&name, Some(options), None).await {
            Ok(_) | Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => {
                untagged.push(name);
            }
            Err(error) => failed.push(FailedUntag { name, reason: with_causes(&error) }),
        }
    }
    (untagged, failed)
}

/// A hundred years: older than anything that Docker has.
const LONGEST_AGE_SECONDS: u64 = 100 * 365 * 24 * 3600;

/// Deletes images without a name, with the layers that no other image uses, and what `BuildKit` has not used for long.
async fn prune(daemon: &DockerDaemon, rules: &DaemonRules) -> Result<(), DockerError> {
    let docker = daemon.api().await?;
    // Docker 20.10 takes a length of time in Go's notation only, which has 292 years.
    let ago = |age: Duration| vec![format!("{}s", age.as_secs().min(LONGEST_AGE_SECONDS))];
    // Steps of a build that failed just now are its cache for the next attempt.
    let filters =
        HashMap::from([("dangling", vec!["true".to_owned()]), ("until", ago(rules.keep_younger_than))]);
    let images = PruneImagesOptionsBuilder::new().filters(&filters).build();
    docker
        .prune_images(Some(images))
        .await
        .map_err(|source| daemon.failed("delete images without a name", source))?;
    if let Some(age) = rules.caches_older_than {
        // Without `all`: layers that are an image's as well free nothing.
        let caches = PruneBuildOptionsBuilder::new().filters(&HashMap::from([("until", ago(age))])).build();
        docker
            .prune_build(Some(caches))
            .await
            .map_err(|source| daemon.failed("delete old build caches", source))?;
    }
    Ok(())
}
