//! Waiting for a daemon that is on its way.

use std::collections::BTreeMap;
use std::time::Duration;

use garden_cluster::{Cluster, ClusterError, DaemonPod, Patience, PodEvents, Watch, lacks_volume};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use tokio::time::Instant;

use crate::daemon::Notice;
use crate::daemon::decide::{self, Outlook};
use crate::spec::{self, NAME};

/// A pod that starts within this time is never asked for its events.
const EVENTS_AFTER: Duration = Duration::from_secs(2);

/// A trouble that ends the wait this soon need not be told before.
const SOON: Duration = Duration::from_secs(5);

/// What events are about: its kind and name.
type Subject = (&'static str, String);

/// Waits until a daemon of this configuration takes builds.
pub(super) async fn for_daemon(
    cluster: &Cluster,
    namespace: &str,
    configuration: &str,
    tell: &mut impl FnMut(Notice),
) -> Result<DaemonPod, ClusterError> {
    let started = Instant::now();
    let mut deployments = Watch::<Deployment>::one(cluster, namespace, NAME);
    let mut pods = Watch::<Pod>::labelled(cluster, namespace, &spec::selector());
    let mut replica_sets = Watch::<ReplicaSet>::labelled(cluster, namespace, &spec::selector());
    let (mut deployment, mut known) = (Known::<Deployment>::default(), Known::<Pod>::default());
    let mut makers = Known::<ReplicaSet>::default();
    let mut events: Option<(Subject, PodEvents)> = None;
    let mut patience = Patience::default();
    let mut waiting_for = String::new();
    loop {
        let mut subject = None;
        if deployment.listed && makers.listed && known.listed {
            let live = deployment.objects.values().next();
            if let Some(diagnosis) = decide::overtaken(namespace, live, configuration) {
                return Err(ClusterError::Pod(diagnosis));
            }
            let pods: Vec<Pod> = known.objects.values().cloned().collect();
            let seen = events.as_ref().map(|(_, events)| events.seen()).unwrap_or_default();
            let maker =
                makers.objects.values().find(|maker| decide::configuration(&maker.metadata) == configuration);
            let (what, trouble) = match decide::outlook(&pods, maker, configuration, seen) {
                Outlook::Ready(daemon) => return Ok(daemon),
                Outlook::Waiting(what) => (format!("waiting for {what}"), None),
                // It may take minutes to pass, as with a node that an autoscaler adds.
                Outlook::Stuck(trouble) => (trouble.diagnosis.message.clone(), Some(trouble)),
            };
            let worth_telling = trouble.as_ref().is_none_or(|trouble| trouble.grace > SOON);
            patience.bear(trouble)?;
            if worth_telling && what != waiting_for {
                tell(Notice::Progress(what.clone()));
                waiting_for = what;
            }
            let pod = decide::newest(&pods, configuration).map(|pod| {
                if lacks_volume(pod) {
                    ("PersistentVolumeClaim", NAME.to_owned())
                } else {
                    ("Pod", name(pod))
                }
            });
            subject = pod.or_else(|| maker.map(|maker| ("ReplicaSet", name(maker))));
        }
        // Something else has taken the place of that whose events are known.
        events = events.filter(|(known, _)| Some(known) == subject.as_ref());
        let look_at_events = events.is_none() && subject.is_some();
        let event_seen = async {
            match &mut events {
                Some((_, events)) => events.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = deployments.next() => deployment.changed(event?, name),
            event = replica_sets.next() => makers.changed(event?, name),
            event = pods.next() => known.changed(event?, name),
            () = event_seen => {}
            () = tokio::time::sleep_until(started + EVENTS_AFTER), if look_at_events => {
                events = subject.map(|(kind, name)| {
                    let events = PodEvents::about(cluster, namespace, kind, &name);
                    ((kind, name), events)
                });
            }
            () = patience.exhausted() => {}
        }
    }
}

/// What a watch has told.
struct Known<K> {
    objects: BTreeMap<String, K>,
    /// The objects of a list that is under way.
    listing: BTreeMap<String, K>,
    /// Whether a list has come to its end.
    listed: bool,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: BTreeMap::new(), listed: false }
    }
}

impl<K> Known<K> {
    fn changed(&mut self, event: Event<K>, name: impl Fn(&K) -> String) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => drop(self.listing.insert(name(&object), object)),
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.listing);
                self.listed = true;
            }
            Event::Apply(object) => drop(self.objects.insert(name(&object), object)),
            Event::Delete(object) => drop(self.objects.remove(&name(&object))),
        }
    }
}

fn name<K: kube::ResourceExt>(object: &K) -> String {
    object.name_any()
}
