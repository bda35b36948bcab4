//! Builds of other clients that were there before and push to the same tag. A second build would give the tag another digest than the one that the
//! first has returned; so the second waits, and takes what the first has pushed.
//!
//! Why: docs/decisions/27-two-clients-one-image.md

use std::collections::BTreeSet;
use std::time::Duration;

use garden_build_core::{BuildControl, BuildJob, Digest, LogSource, Result, StepKind, WarningCode};
use garden_cluster::{BuildPod, Cluster, EarlierBuild, builds_begun_before, sweep};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep, timeout};

use crate::spec;

/// How often whoever waits looks whether the client of the other build is dead, and removes its pod then.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// How long a look at the registry may take while the build's own pod stands there, whose lease of a minute is renewed only when it runs. The registry
/// in the cluster may have no answer for much longer, while it is collected.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);

/// How long the registry may take to show what a pod has pushed, and how often it is asked.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What a build finds when it has created its pod.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing that would keep it from building.
    Nothing,
    /// Its image, which somebody has pushed since it was looked for.
    Image(Digest),
    /// Another build of its image, which was there before.
    Build(EarlierBuild),
}

/// The builds that were there before one build.
#[derive(Debug)]
pub(crate) struct EarlierBuilds<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    job: &'a BuildJob,
    cx: &'a BuildControl,
    /// Nobody is waited for any longer. Anyone who may create pods can put one there that looks like a build, so enough time has to be left to build.
    until: Instant,
    /// The pods of those that were waited for, by their uid. Each is waited for once.
    waited_for: BTreeSet<String>,
}

impl<'a> EarlierBuilds<'a> {
    /// Looks for those before the build of `job`, which has the first half of its time limit to wait for them, however often it is tried.
    pub(crate) fn new(
        cluster: &'a Cluster,
        namespace: &'a str,
        job: &'a BuildJob,
        cx: &'a BuildControl,
    ) -> Self {
        let until = cx.begun().checked_add(job.request.timeout / 2).unwrap_or(cx.deadline);
        Self { cluster, namespace, job, cx, until, waited_for: BTreeSet::new() }
    }

    /// Looks whether there is anything to wait for, or nothing left to do, when `own`, the build's pod, was created just now. A build that may not list
    /// pods finds nothing.
    pub(crate) async fn look(&self, own: &Pod) -> Found {
        let image = async {
            if !self.takes_what_exists() {
                return None;
            }
            timeout(LOOK_PATIENCE, self.cx.existing()).await.unwrap_or_default()
        };
        let builds = builds_begun_before(self.cluster, own, &self.job.push_to);
        let looking = Box::pin(async { Ok(tokio::join!(image, builds)) });
        // Why it has to stop is said by whoever asks next.
        let Ok((image, builds)) = self.cx.until_stopped(looking).await else { return Found::Nothing };
        if let Some(image) = image {
            self.cx.events.log("another build has pushed the image meanwhile");
            return Found::Image(image);
        }
        let builds = builds.unwrap_or_else(|error| {
            tracing::debug!(%error, "could not look for other builds of the same image");
            Vec::new()
        });
        let Some(first) = builds.first() else { return Found::Nothing };
        let next = builds.iter().find(|build| !self.waited_for.contains(&build.uid));
        match next {
            Some(build) if self.waits() => Found::Build(build.clone()),
            _ => {
                self.warn(first);
                Found::Nothing
            }
        }
    }

    /// Waits until another build has ended, and returns the image that the registry has then.
    ///
    /// # Errors
    /// If this build has to stop.
    pub(crate) async fn wait_for(&mut self, build: EarlierBuild) -> Result<Option<Digest>> {
        let (namespace, name) = (self.namespace, &build.name);
        let step = self
            .cx
            .events
            .step(StepKind::Join, format!("wait for Pod {namespace}/{name}, which builds the same image"));
        // In a box, as watching a pod is a large future.
        let waiting = Box::pin(async {
            let mut pod = BuildPod::watch(self.cluster, namespace, name, spec::CONTAINER, &spec::REMEDIES);
            loop {
                let left = self.until.saturating_duration_since(Instant::now());
                match timeout(left.min(SWEEP_EVERY), pod.ended()).await {
                    Ok(Ok(end)) => {
                        return (
                            end.exit_code == 0,
                            format!("it has ended with exit code {}", end.exit_code),
                        );
                    }
                    Ok(Err(error)) => return (false, error.to_string()),
                    Err(_) if left <= SWEEP_EVERY => return (false, "it has not ended yet".to_owned()),
                    Err(_) => {
                        if let Err(error) = sweep(self.cluster, namespace).await {
                            tracing::debug!(%error, "could not sweep after builds that died");
                        }
                    }
                }
            }
        });
        let why = self.cx.until_stopped(async { Ok(waiting.await) }).await;
        if let Ok((_, why)) = &why {
            step.log(LogSource::Builder, why.as_str());
        }
        let (has_pushed, _) = step.end(why)?;
        self.waited_for.insert(build.uid);
        self.cx.until_stopped(async { Ok(self.arrived(has_pushed).await) }).await
    }

    /// Asks the registry for the image; for a while, if it `is_expected`.
    async fn arrived(&self, is_expected: bool) -> Option<Digest> {
        let until = Instant::now() + ARRIVAL_PATIENCE;
        loop {
            let image = self.cx.existing().await;
            if image.is_some() || !is_expected || Instant::now() >= until {
                return image;
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn takes_what_exists(&self) -> bool {
        !self.job.request.replaces()
    }

    /// Whether it is of any use to wait: what another build has pushed, only the registry knows.
    fn waits(&self) -> bool {
        self.takes_what_exists() && self.cx.has_witness() && Instant::now() < self.until
    }

    fn warn(&self, other: &EarlierBuild) {
        let (namespace, name, tag) = (self.namespace, &other.name, &self.job.destination);
        let message = format!(
            "Pod {namespace}/{name} of another build pushes to {tag} as well: the tag will stand for what is pushed last"
        );
        self.cx.events.warn(WarningCode::AnotherBuildRuns, message, None);
    }
}
