//! Making sure of the service, and finding its pod.
//!
//! Why: docs/decisions/31-the-first-settings-stand.md

use std::collections::BTreeSet;
use std::convert::Infallible;

use garden_build_core::{ErrorKind, EventSink};
use garden_cluster::{
    Cause, ClusterError, DaemonPod, Diagnosis, PodPullSecrets, Sight, annotation, configuration, is_stopped,
    living, pod_of, used_at,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::spec::{PROTOCOL, PROTOCOL_VERSION, claim, deployment};
use super::{CONTAINER, ContextService, NAME, WORDS};

/// Where the service runs.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) pod: DaemonPod,
    /// An identifier that no other service has, in whichever cluster: that of its `ReplicaSet`, which outlives pods.
    pub(crate) uid: String,
    /// Whether it has other settings than ours.
    pub(crate) differs: bool,
}

impl ContextService {
    /// Finds the service's pod, which costs two requests at once if it runs, and says that it is in use from now on. Makes sure of the
    /// service else, and waits for it. What nodes need to pull its image is brought up to date in any case.
    ///
    /// A service that works is used as it is: two users with different settings would replace it in turn. One with the
    /// settings of somebody else is replaced only if it cannot start.
    ///
    /// # Errors
    /// With the cause, within seconds where it is known, if it cannot start, or if another program or a newer version
    /// has made it.
    pub(crate) async fn find(&self, events: &EventSink) -> Result<Found, ClusterError> {
        let (pods, found) = self.look().await?;
        if let Some(found) = found {
            // For the pod that takes its place one day, perhaps on another node.
            self.bring_pull_secrets().await;
            return Ok(found);
        }
        // Boxed, for it is large, and often there is nothing to do.
        match Box::pin(self.bring_up(&pods, events)).await {
            // Somebody has deleted, stopped or replaced it meanwhile. Only once: two clients that undo this in turn would go on for ever.
            Err(ClusterError::Pod(Diagnosis { cause: Cause::Missing | Cause::Overtaken, .. })) => {
                Box::pin(self.bring_up(&pods, events)).await
            }
            outcome => outcome,
        }
    }

    /// Returns its pods, and the one that can be used at once. A service that was stopped because nobody used it is started again, as it was.
    async fn look(&self) -> Result<(Vec<Pod>, Option<Found>), ClusterError> {
        let managed = self.managed();
        let pods = match managed.look().await {
            Ok(seen)
                if seen.live.as_ref().is_some_and(|live| protocol(&live.metadata) == PROTOCOL_VERSION) =>
            {
                managed.used_from_now_on(seen, self.settings.idle_after).await?.pods
            }
            Ok(Sight { pods, .. }) => pods,
            // Who may not look at Deployments can build all the same where the service runs.
            Err(error) if error.code() == Some(403) => managed.pods().await?,
            Err(error) => return Err(error),
        };
        let found = choose(&pods, &self.configuration());
        Ok((pods, found))
    }

    /// Sees to it that nobody takes it for unused, for as long as the future is polled. If that cannot be done, `events` hear.
    pub(crate) async fn keep_in_use(&self, events: &EventSink) -> Infallible {
        self.managed().keep_in_use(events).await
    }

    /// Brings it up, where the cluster was just seen to have these `pods` of it.
    async fn bring_up(&self, pods: &[Pod], events: &EventSink) -> Result<Found, ClusterError> {
        self.cluster.ensure_namespace(&self.settings.namespace).await?;
        let brought = self.bring_pull_secrets().await;
        brought.warn(events);
        if brought.have_changed() {
            self.managed().end_unpulled(pods, events).await;
        }
        let (live, now) = self.managed().deployment().await?;
        match live.as_ref().map_or(Standing::Absent, standing) {
            Standing::Absent => {
                self.apply_policy_if_due().await?;
                self.claim(events).await?;
                // Not over one that somebody else has made meanwhile.
                self.cluster.create(&self.wanted(&brought, None, now)).await?;
            }
            Standing::Newer => return Err(ClusterError::Pod(self.newer())),
            Standing::Older | Standing::Stopped => self.apply_with(&brought, events).await?,
            Standing::Usable => {}
        }
        let cannot_start = match self.chosen(events).await {
            Err(ClusterError::Pod(diagnosis)) if is_of_its_pod(diagnosis.cause) => diagnosis,
            outcome => return outcome,
        };
        // As it is now: somebody else may have given it other settings meanwhile.
        let live = self.managed().own::<Deployment>(NAME).await?;
        if live.is_none_or(|live| self.is_ours(&live, &brought)) {
            return Err(brought.explain(ClusterError::Pod(cannot_start)));
        }
        events.log(format!(
            "the settings of the context service are replaced, as with its present ones it cannot start: {cannot_start}"
        ));
        self.apply_with(&brought, events).await?;
        self.chosen(events).await.map_err(|error| brought.explain(error))
    }

    /// Whether `live` has our settings, and names all Secrets that nodes may need to pull its image.
    fn is_ours(&self, live: &Deployment, brought: &PodPullSecrets) -> bool {
        configuration(&live.metadata) == self.configuration()
            && pod_of(live).is_some_and(|pod| brought.are_named_by(pod))
    }

    /// Brings the Secrets with which nodes pull its image to its namespace, which exists.
    async fn bring_pull_secrets(&self) -> PodPullSecrets {
        self.credentials.bring_to(self.namespace(), &[&self.settings.image]).await
    }

    /// Returns the Deployment with our settings that takes the place of `live`, and is in use from `now` on.
    fn wanted(&self, brought: &PodPullSecrets, live: Option<&Deployment>, now: Timestamp) -> Deployment {
        let mut wanted = deployment(&self.settings, &brought.names_beside(live.and_then(pod_of)));
        used_at(&mut wanted.metadata, now);
        wanted
    }

    fn configuration(&self) -> String {
        configuration(&deployment(&self.settings, &BTreeSet::new()).metadata).to_owned()
    }

    /// Waits until a pod can be used, and returns it.
    async fn chosen(&self, events: &EventSink) -> Result<Found, ClusterError> {
        let wanted = self.configuration();
        self.managed().ready_with(|live| self.usable(live), |pods| choose(pods, &wanted), events).await
    }

    /// Reports if somebody else has put a service into the place of ours with which this version cannot speak.
    fn usable(&self, live: &Deployment) -> Result<(), Diagnosis> {
        match standing(live) {
            Standing::Newer => Err(self.newer()),
            Standing::Older => Err(self.downgraded()),
            // Whoever waits for it reports that it is stopped.
            Standing::Absent | Standing::Usable | Standing::Stopped => Ok(()),
        }
    }

    /// Creates the service's objects, or changes those that are there to what the settings say. A service whose pod
    /// changes begins anew, without a volume with no contexts.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or an object of its name is not ours or of a newer version: then
    /// nothing is changed.
    pub async fn apply(&self, events: &EventSink) -> Result<(), ClusterError> {
        self.cluster.ensure_namespace(&self.settings.namespace).await?;
        let brought = self.bring_pull_secrets().await;
        brought.warn(events);
        if brought.have_changed() {
            self.managed().end_unpulled(&self.managed().pods().await?, events).await;
        }
        self.apply_with(&brought, events).await?;
        self.policy().remove_unwanted(events).await
    }

    async fn apply_with(&self, brought: &PodPullSecrets, events: &EventSink) -> Result<(), ClusterError> {
        let managed = self.managed();
        let policy = self.policy();
        let ((live, now), _, _) = tokio::try_join!(
            managed.deployment(),
            managed.own::<PersistentVolumeClaim>(NAME),
            policy.is_due()
        )?;
        if live.as_ref().is_some_and(|live| standing(live) == Standing::Newer) {
            return Err(ClusterError::Pod(self.newer()));
        }
        policy.apply().await?;
        self.claim(events).await?;
        self.cluster.apply(&self.wanted(brought, live.as_ref(), now)).await.map(drop)
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// With the cause, within seconds where it is known, if that cannot come about.
    pub async fn ready(&self, events: &EventSink) -> Result<(), ClusterError> {
        self.managed().ready_with(|live| self.usable(live), |_| Some(()), events).await
    }

    async fn apply_policy_if_due(&self) -> Result<(), ClusterError> {
        let policy = self.policy();
        if policy.is_due().await? { policy.apply().await } else { Ok(()) }
    }

    async fn claim(&self, events: &EventSink) -> Result<(), ClusterError> {
        match claim(&self.settings) {
            Some(claim) => self.managed().ensure_claim(&claim, events).await,
            None => Ok(()),
        }
    }

    fn newer(&self) -> Diagnosis {
        let message = format!(
            "Deployment {}/{NAME} was made by a newer version of garden-build, with which this one cannot speak",
            self.namespace()
        );
        let hint = "use that version, or set `kaniko.contextDelivery: stdin`, or build in another namespace";
        Diagnosis::other(ErrorKind::Unsupported, message, hint).because(Cause::Foreign)
    }

    fn downgraded(&self) -> Diagnosis {
        let namespace = self.namespace();
        let message =
            format!("Deployment {namespace}/{NAME} was replaced by an older version of garden-build");
        let diagnosis = Diagnosis::other(ErrorKind::BuilderLost, message, WORDS.missing);
        diagnosis.because(Cause::Overtaken).retryable()
    }
}

/// Whether other settings may help. They do not if the Deployment is not there, or not ours to use.
fn is_of_its_pod(cause: Cause) -> bool {
    !matches!(cause, Cause::Missing | Cause::Foreign | Cause::Overtaken)
}

/// What is to be done with a Deployment that has no pod to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Absent,
    /// It speaks our protocol and needs its time.
    Usable,
    /// Somebody has scaled it to nothing, or paused it.
    Stopped,
    /// An older version has made it.
    Older,
    /// A newer version has made it.
    Newer,
}

fn standing(live: &Deployment) -> Standing {
    match protocol(&live.metadata) {
        version if version > PROTOCOL_VERSION => Standing::Newer,
        version if version < PROTOCOL_VERSION => Standing::Older,
        _ if is_stopped(live) => Standing::Stopped,
        _ => Standing::Usable,
    }
}

/// Chooses the pod that is used: of our protocol, started, and not stopping. There is one at most, except on a lost node.
fn choose(pods: &[Pod], wanted: &str) -> Option<Found> {
    let ours = living(pods).into_iter().filter(|pod| protocol(&pod.metadata) == PROTOCOL_VERSION);
    ours.rev().find_map(|pod| {
        let differs = configuration(&pod.metadata) != wanted;
        // Nobody reaches a pod that has no address yet.
        let owner =
            pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let uid = owner.map(|owner| owner.uid.clone());
        let pod = DaemonPod::of(pod, CONTAINER).filter(|pod| pod.address.is_some())?;
        Some(Found { uid: uid.unwrap_or_else(|| pod.uid.clone()), pod, differs })
    })
}

fn protocol(metadata: &ObjectMeta) -> u32 {
    annotation(metadata, PROTOCOL).parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use garden_cluster::CONFIGURATION;
    use serde_json::json;

    use super::*;
    use crate::service::spec::tests::settings;

    fn pod(name: &str, second: u8, protocol: u32) -> Pod {
        let status = json!({
            "name": CONTAINER, "image": "", "imageID": "", "ready": true, "started": true,
            "restartCount": 0, "containerID": "containerd://1", "state": { "running": {} },
        });
        let annotations = json!({ PROTOCOL: protocol.to_string(), CONFIGURATION: "ours" });
        let created = format!("2026-01-01T00:00:{second:02}Z");
        let metadata =
            json!({ "name": name, "uid": name, "creationTimestamp": created, "annotations": annotations });
        let status = json!({ "podIP": "10.0.0.1", "containerStatuses": [status] });
        serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("a pod")
    }

    #[test]
    fn the_newest_pod_of_our_protocol_that_stays_is_used() {
        let name = |pods: &[Pod]| choose(pods, "ours").map(|found| found.pod.name);
        let [old, new] = [pod("old", 1, PROTOCOL_VERSION), pod("new", 2, PROTOCOL_VERSION)];
        assert_eq!(name(&[old.clone(), new.clone()]).as_deref(), Some("new"));
        let mut stopping = new;
        stopping.metadata.deletion_timestamp = stopping.metadata.creation_timestamp.clone();
        assert_eq!(name(&[old, stopping.clone()]).as_deref(), Some("old"));
        assert_eq!(name(&[stopping, pod("of another version", 3, PROTOCOL_VERSION + 1)]), None);
        let mut without_address = pod("starting", 1, PROTOCOL_VERSION);
        without_address.status.as_mut().expect("a status").pod_ip = None;
        assert_eq!(name(&[without_address]), None);
    }

    #[test]
    fn a_pod_with_other_settings_is_used_and_noticed() {
        let found = |wanted: &str| choose(&[pod("one", 1, PROTOCOL_VERSION)], wanted).expect("found").differs;
        assert_eq!((found("ours"), found("others")), (false, true));
    }

    #[test]
    fn only_what_cannot_be_used_is_changed() {
        let live = |change: &dyn Fn(&mut serde_json::Value)| {
            let deployment = deployment(&settings(), &BTreeSet::new());
            let mut value = serde_json::to_value(deployment).expect("serialises");
            change(&mut value);
            standing(&serde_json::from_value(value).expect("a Deployment"))
        };
        let speaks = |version: &'static str| {
            move |live: &mut serde_json::Value| live["metadata"]["annotations"][PROTOCOL] = version.into()
        };
        assert_eq!(live(&|_| {}), Standing::Usable);
        assert_eq!(live(&|live| live["spec"]["replicas"] = 0.into()), Standing::Stopped);
        assert_eq!(live(&|live| live["spec"]["paused"] = true.into()), Standing::Stopped);
        assert_eq!((live(&speaks("1")), live(&speaks("3"))), (Standing::Older, Standing::Newer));
    }
}
