//! Waiting for pods that are on their way, by watching them and what is to make them.

use std::time::Duration;

use garden_build_core::EventSink;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use tokio::time::{Instant, sleep_until};

use crate::api::{Cluster, ClusterError, Namespaced, Watch, Watched};
use crate::idle::Room;
use crate::pod::{EVENTS_AFTER, Patience, PodEvents};
use crate::service::judge::{Outlook, Subject};

/// A trouble that ends the wait this soon need not be reported before.
const SOON: Duration = Duration::from_secs(5);

/// What is watched: the object that has pods made, its pods, and perhaps what stands between.
pub(crate) struct Parts<O: Namespaced> {
    owner: Watched<O>,
    pods: Watched<Pod>,
    makers: Option<Watched<ReplicaSet>>,
}

/// What the cluster has of it at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot<O> {
    pub(crate) owner: Option<O>,
    pub(crate) pods: Vec<Pod>,
    /// Nothing unless they are watched.
    pub(crate) makers: Vec<ReplicaSet>,
}

/// What a snapshot means.
pub(crate) struct Judgement<T> {
    pub(crate) outlook: Outlook<T>,
    /// What the events to read are about.
    pub(crate) subject: Option<Subject>,
}

impl<O: Namespaced> Parts<O> {
    /// Watches the object `name`, and the pods that the label selector chooses.
    pub(crate) fn watch(cluster: &Cluster, namespace: &str, name: &str, selector: &str) -> Self {
        Self {
            owner: Watched::of(Watch::one(cluster, namespace, name)),
            pods: Watched::of(Watch::labelled(cluster, namespace, selector)),
            makers: None,
        }
    }

    /// Watches the `ReplicaSet`s of a Deployment as well, each of which makes the pods of one configuration.
    pub(crate) fn with_makers(self, cluster: &Cluster, namespace: &str, selector: &str) -> Self {
        Self { makers: Some(Watched::of(Watch::labelled(cluster, namespace, selector))), ..self }
    }

    /// Returns what there is; `None` until the cluster has listed it all.
    fn snapshot(&self) -> Option<Snapshot<O>> {
        let makers = match &self.makers {
            Some(makers) => makers.all()?,
            None => Vec::new(),
        };
        Some(Snapshot { owner: self.owner.all()?.pop(), pods: self.pods.all()?, makers })
    }

    async fn changed(&mut self) -> Result<(), ClusterError> {
        let makers = async {
            match &mut self.makers {
                Some(makers) => makers.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.owner.changed() => changed,
            changed = self.pods.changed() => changed,
            changed = makers => changed,
        }
    }
}

/// Waits until `parts` are ready, as `judge` says, which is given the events about the subject that it has named before. What
/// is waited for, `events` hear, each thing once.
///
/// # Errors
/// With what `judge` finds final, with a trouble that has outlasted its grace, and after the `longest` time with what
/// `too_late` makes of the last thing that was waited for.
pub(crate) async fn until_ready<O: Namespaced, T>(
    cluster: &Cluster,
    namespace: &str,
    mut parts: Parts<O>,
    judge: impl Fn(&Snapshot<O>, &[Event]) -> Result<Judgement<T>, ClusterError>,
    longest: Option<Duration>,
    too_late: impl Fn(Duration, &str) -> ClusterError,
    events: &EventSink,
) -> Result<T, ClusterError> {
    let started = Instant::now();
    let mut room = Room::new(cluster, namespace);
    let mut explained = Explained::new(cluster, namespace, started + EVENTS_AFTER);
    let mut patience = Patience::default();
    let (mut waiting_for, mut told) = ("the cluster".to_owned(), String::new());
    loop {
        if let Some(snapshot) = parts.snapshot() {
            let Judgement { outlook, subject } = judge(&snapshot, explained.seen())?;
            let (what, trouble) = match outlook {
                Outlook::Ready(ready) => return Ok(ready),
                Outlook::Waiting(what) => (format!("waiting for {what}"), None),
                Outlook::Stuck(trouble) => {
                    let trouble = room.judge(trouble);
                    (trouble.diagnosis.message.clone(), Some(trouble))
                }
            };
            // It may take minutes to pass, as with a node that an autoscaler adds.
            let worth_telling = trouble.as_ref().is_none_or(|trouble| trouble.grace > SOON);
            patience.bear(trouble)?;
            if worth_telling && what != told {
                events.log(what.clone());
                told.clone_from(&what);
            }
            waiting_for = what;
            explained.about(subject);
        }
        tokio::select! {
            changed = parts.changed() => changed?,
            () = explained.changed() => {}
            () = room.changed() => {}
            () = patience.exhausted() => {}
            longest = time_is_up(started, longest) => return Err(too_late(longest, &waiting_for)),
        }
    }
}

/// Completes after the `longest` time, if there is one, and returns it.
async fn time_is_up(started: Instant, longest: Option<Duration>) -> Duration {
    let Some(longest) = longest else { return std::future::pending().await };
    sleep_until(started + longest).await;
    longest
}

/// The events about one object, which explain what the pods themselves do not.
struct Explained<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    /// They are not asked for sooner.
    after: Instant,
    subject: Option<Subject>,
    /// Those about the subject, once they are asked for.
    events: Option<PodEvents>,
}

impl<'a> Explained<'a> {
    fn new(cluster: &'a Cluster, namespace: &'a str, after: Instant) -> Self {
        Self { cluster, namespace, after, subject: None, events: None }
    }

    fn seen(&self) -> &[Event] {
        self.events.as_ref().map(PodEvents::seen).unwrap_or_default()
    }

    /// Describes what they are to be about from now on.
    fn about(&mut self, subject: Option<Subject>) {
        if self.subject != subject {
            self.events = None;
        }
        self.subject = subject;
    }

    /// Waits until there is something new to see. Dropping the future loses nothing.
    async fn changed(&mut self) {
        let Some((kind, name)) = &self.subject else { return std::future::pending().await };
        if self.events.is_none() {
            sleep_until(self.after).await;
        }
        let (cluster, namespace) = (self.cluster, self.namespace);
        self.events.get_or_insert_with(|| PodEvents::about(cluster, namespace, kind, name)).changed().await;
    }
}

#[cfg(test)]
mod tests;
