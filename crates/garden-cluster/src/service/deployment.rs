//! A Deployment of ours in a cluster: is it there, is it ours, and which pod takes builds.

use std::convert::Infallible;
use std::time::Duration;

use garden_build_core::{ErrorKind, EventSink, Remedy};
use garden_config::IdleAfter;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;

use crate::api::{Cluster, ClusterError, Namespaced, name_of};
use crate::diagnosis::{Cause, Diagnosis};
use crate::idle::usage;
use crate::service::wait::{Judgement, Parts, Snapshot, until_ready};
use crate::service::{
    DaemonPod, DeploymentWords, claim, configuration, judge, outlived, replacement, rollout,
    service_selector, unpulled,
};

/// A Deployment of ours and its pods, as they were at one moment.
#[derive(Debug)]
pub struct Sight {
    /// The Deployment, if there is one.
    pub live: Option<Deployment>,
    /// Its pods, those that stop or have ended among them.
    pub pods: Vec<Pod>,
    /// When that was, by the API server's clock.
    pub now: Timestamp,
}

/// A Deployment of ours, whether it is installed or not.
#[derive(Clone, Debug)]
pub struct ManagedDeployment {
    cluster: Cluster,
    namespace: String,
    words: &'static DeploymentWords,
}

impl ManagedDeployment {
    /// Describes the Deployment of `cluster` that `words` are about, in `namespace`.
    pub fn new(cluster: &Cluster, namespace: &str, words: &'static DeploymentWords) -> Self {
        Self { cluster: cluster.clone(), namespace: namespace.to_owned(), words }
    }

    /// Returns the label selector of its pods.
    pub fn selector(&self) -> String {
        service_selector(self.words.name)
    }

    /// Whether it is installed, by us; whether it serves is another question.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has installed one under the same name.
    pub async fn is_installed(&self) -> Result<bool, ClusterError> {
        Ok(self.own::<Deployment>(self.words.name).await?.is_some())
    }

    /// Returns our object of this name, if there is one. One that another program has made is an error.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or the object is not ours.
    pub async fn own<K: Namespaced>(&self, name: &str) -> Result<Option<K>, ClusterError> {
        let live = self.cluster.get::<K>(&self.namespace, name).await?;
        live.as_ref().map_or(Ok(()), |live| refuse_foreign(self.words, live))?;
        Ok(live)
    }

    /// Returns its pods, those that stop or have ended among them.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn pods(&self) -> Result<Vec<Pod>, ClusterError> {
        self.cluster.list::<Pod>(&self.namespace, &self.selector()).await
    }

    /// Returns the Deployment, if it is there, and the API server's time.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has made the Deployment.
    pub async fn deployment(&self) -> Result<(Option<Deployment>, Timestamp), ClusterError> {
        let (live, now) = self.cluster.get_dated(&self.namespace, self.words.name).await?;
        live.as_ref().map_or(Ok(()), |live| refuse_foreign(self.words, live))?;
        Ok((live, now))
    }

    /// Returns the Deployment, if it is there, and its pods, by two requests at once.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has made the Deployment.
    pub async fn look(&self) -> Result<Sight, ClusterError> {
        let ((live, now), pods) = tokio::try_join!(self.deployment(), self.pods())?;
        Ok(Sight { live, pods, now })
    }

    /// States that it is in use from now on, by somebody who wants it kept for `idle_after` without use, and starts it again if it was
    /// stopped because nobody used it. It was just `seen`: if that says so already, nothing is asked. Returns it as it is
    /// then, with those of its pods that can be relied on.
    ///
    /// # Errors
    /// If it cannot be started again. It is not an error if its use cannot be recorded: whoever may only look can build all the same.
    pub async fn used_from_now_on(&self, seen: Sight, idle_after: IdleAfter) -> Result<Sight, ClusterError> {
        // Boxed, for it is large, and often there is nothing to say.
        Box::pin(usage::begin(&self.cluster, &self.namespace, self.words.name, seen, idle_after)).await
    }

    /// Sees to it that nobody takes it for unused, for as long as the future is polled. If that cannot be done, `events` hear.
    pub async fn keep_in_use(&self, events: &EventSink) -> Infallible {
        usage::keep(&self.cluster, &self.namespace, self.words.name, events).await
    }

    /// Ends those of its `pods` that have not started and could not pull an image, now that nodes have what they need for that. Others take
    /// their place, and try at once; the same ones would for minutes not try again. If they may not be ended, `events` hear.
    pub async fn end_unpulled(&self, pods: &[Pod], events: &EventSink) {
        unpulled::end(&self.cluster, &self.namespace, pods, events).await;
    }

    /// Makes sure of the claim to its volume. That it keeps a size which is not the wanted one, `events` hear.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached. A volume that cannot be enlarged is not one: what uses it runs with what there is.
    pub async fn ensure_claim(
        &self,
        wanted: &PersistentVolumeClaim,
        events: &EventSink,
    ) -> Result<(), ClusterError> {
        let Some(words) = &self.words.volume else { return Ok(()) };
        claim::ensure(&self.cluster, wanted, words, events).await
    }

    /// Waits until its latest pod serves and the former one is gone, whatever its settings. `events` hear what is waited for.
    ///
    /// # Errors
    /// With the cause, within seconds where it is known, if that cannot come about. The same holds if somebody else deletes or stops the
    /// Deployment, or puts one of another program in its place.
    pub async fn ready(&self, events: &EventSink) -> Result<(), ClusterError> {
        self.ready_with(|_| Ok(()), |_| Some(()), events).await
    }

    /// Waits in the same way, and until `choose` finds among its pods what is wanted of them; returns that. The Deployment may change while
    /// it is waited for: `check` says if it is of no use any more.
    ///
    /// # Errors
    /// As those of [`ready`](Self::ready), and with what `check` says.
    pub async fn ready_with<T>(
        &self,
        check: impl Fn(&Deployment) -> Result<(), Diagnosis>,
        choose: impl Fn(&[Pod]) -> Option<T>,
        events: &EventSink,
    ) -> Result<T, ClusterError> {
        let words = self.words;
        let parts = Parts::<Deployment>::watch(&self.cluster, &self.namespace, words.name, &self.selector());
        let judge = |shown: &Snapshot<Deployment>, seen: &[Event]| {
            let Snapshot { owner, pods, .. } = shown;
            let Some(deployment) = owner else { return Err(self.not_installed()) };
            refuse_foreign(words, deployment)?;
            check(deployment).map_err(ClusterError::Pod)?;
            let newest = judge::living(pods).pop();
            Ok(Judgement {
                outlook: rollout::outlook(words, deployment, pods, seen, &choose),
                subject: newest.map(|pod| judge::subject(words, pod)),
            })
        };
        self.until_ready(parts, judge, events).await
    }

    /// Chooses the pod that takes builds of the configuration `wanted`. Of several the oldest, so that all clients agree and
    /// find their contexts again.
    pub fn choose(&self, pods: &[Pod], wanted: &str) -> Option<DaemonPod> {
        replacement::choose(self.words, pods, wanted)
    }

    /// Waits until a pod of the configuration `wanted` takes builds, and returns it. A former one may go on beside it until its
    /// builds have ended. `events` hear what is waited for.
    ///
    /// # Errors
    /// With the cause, within seconds where it is known, if that cannot come about. The same holds if somebody else deletes or stops the
    /// Deployment, gives it another configuration, or puts one of another program in its place.
    pub async fn ready_as(&self, wanted: &str, events: &EventSink) -> Result<DaemonPod, ClusterError> {
        let (words, selector) = (self.words, self.selector());
        let parts = Parts::<Deployment>::watch(&self.cluster, &self.namespace, words.name, &selector)
            .with_makers(&self.cluster, &self.namespace, &selector);
        let judge = |shown: &Snapshot<Deployment>, seen: &[Event]| {
            let live = shown.owner.as_ref();
            live.map_or(Ok(()), |live| refuse_foreign(words, live))?;
            if let Some(overtaken) = replacement::overtaken(words, &self.namespace, live, wanted) {
                return Err(ClusterError::Pod(overtaken));
            }
            let maker = shown.makers.iter().find(|maker| configuration(&maker.metadata) == wanted);
            let shown = replacement::Shown { pods: &shown.pods, maker };
            Ok(Judgement {
                outlook: replacement::outlook(words, shown, wanted, seen),
                subject: replacement::subject(words, shown, wanted),
            })
        };
        self.until_ready(parts, judge, events).await
    }

    async fn until_ready<T>(
        &self,
        parts: Parts<Deployment>,
        judge: impl Fn(&Snapshot<Deployment>, &[Event]) -> Result<Judgement<T>, ClusterError>,
        events: &EventSink,
    ) -> Result<T, ClusterError> {
        let too_late = |after, reason: &str| too_late(self.words.what, &self.namespace, after, reason);
        let (cluster, namespace, longest) = (&self.cluster, &self.namespace, self.words.longest);
        let (lookout, ends) = outlived::lookout(self.words.container);
        let judge = |shown: &Snapshot<Deployment>, seen: &[Event]| {
            lookout.look_at(&shown.pods);
            judge(shown, seen)
        };
        // Boxed, for it is large, and often there is nothing to wait for.
        let waiting = Box::pin(until_ready(cluster, namespace, parts, judge, longest, too_late, events));
        tokio::select! {
            ready = waiting => ready,
            never = ends.bring_about(cluster, namespace) => match never {},
            // Somebody waits for it, so it is in use.
            never = self.keep_in_use(events) => match never {},
        }
    }

    /// States that it is not installed, and what to do.
    pub fn not_installed(&self) -> ClusterError {
        let DeploymentWords { what, missing, .. } = *self.words;
        let message = format!("{what} in Namespace {} is not installed", self.namespace);
        ClusterError::Pod(Diagnosis::other(ErrorKind::NotFound, message, missing).because(Cause::Missing))
    }

    /// Completes when the daemon in its pod `daemon` has ended, with the cause.
    pub async fn lost(&self, daemon: &DaemonPod) -> Diagnosis {
        daemon.lost(&self.cluster, &self.namespace, self.words).await
    }
}

/// Makes sure that no other program has made `live`.
///
/// # Errors
/// If one has.
pub(crate) fn refuse_foreign<K: Namespaced>(words: &DeploymentWords, live: &K) -> Result<(), ClusterError> {
    judge::foreign(words, &name_of(live), live.meta())
        .map_or(Ok(()), |foreign| Err(ClusterError::Pod(foreign)))
}

/// States that `what` has not become ready, for a `reason` that nobody takes for a failure.
pub(crate) fn too_late(what: &str, namespace: &str, after: Duration, reason: &str) -> ClusterError {
    let minutes = after.as_secs() / 60;
    let message = format!("{what} in Namespace {namespace} is not ready after {minutes} minutes: {reason}");
    let hint = Remedy::install("ask the cluster's operator what keeps it, and install again (`init`)");
    ClusterError::Pod(Diagnosis::other(ErrorKind::Timeout, message, hint).retryable())
}
