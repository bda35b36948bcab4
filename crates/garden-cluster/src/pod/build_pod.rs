use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use tokio::time::Instant;

use crate::api::{Cluster, ClusterError, Watch};
use crate::diagnosis::Remedies;
use crate::idle::Room;
use crate::pod::{EVENTS_AFTER, Patience, PodEvents, PodState, deleted, diagnose};

/// A builder pod that was created, followed until its container ends.
pub struct BuildPod {
    cluster: Cluster,
    namespace: String,
    name: String,
    container: String,
    remedies: &'static Remedies,
    created: Instant,
    pods: Watch<Pod>,
    events: Option<PodEvents>,
    /// What is known of the pod; `None` until the watch has reported it first.
    pod: Option<Pod>,
    /// The relist under way has shown the pod.
    listed: bool,
    gone: bool,
    patience: Patience,
    room: Room,
}

impl std::fmt::Debug for BuildPod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildPod")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a builder's container ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodEnd {
    /// The container's exit code.
    pub exit_code: i32,
    /// What the container left as its termination message.
    pub message: String,
}

impl BuildPod {
    /// Watches the pod `name`, whose work is done by `container`. `remedies` have what to do about its troubles.
    pub fn watch(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        container: &str,
        remedies: &'static Remedies,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            container: container.to_owned(),
            remedies,
            created: Instant::now(),
            pods: Watch::one(cluster, namespace, name),
            events: None,
            pod: None,
            listed: false,
            gone: false,
            patience: Patience::default(),
            room: Room::new(cluster, namespace),
        }
    }

    /// Waits until the container runs, or has ended already; `on_wait` hears what is waited for.
    ///
    /// # Errors
    /// With the cause, if the pod cannot start or has been killed.
    pub async fn started(&mut self, mut on_wait: impl FnMut(&'static str)) -> Result<(), ClusterError> {
        let mut waiting_for = "";
        loop {
            match self.state()? {
                PodState::Running | PodState::Exited { .. } => return Ok(()),
                PodState::Killed(diagnosis) => return Err(ClusterError::Pod(diagnosis)),
                PodState::Starting(what) if what != waiting_for => {
                    waiting_for = what;
                    on_wait(what);
                }
                PodState::Starting(_) | PodState::Stuck(_) => {}
            }
            self.changed().await?;
        }
    }

    /// Waits until the container has ended by itself.
    ///
    /// # Errors
    /// With the cause, if the pod was killed, evicted, deleted or lost.
    pub async fn ended(&mut self) -> Result<PodEnd, ClusterError> {
        loop {
            match self.state()? {
                PodState::Exited { exit_code, message } => return Ok(PodEnd { exit_code, message }),
                PodState::Killed(diagnosis) => return Err(ClusterError::Pod(diagnosis)),
                PodState::Starting(_) | PodState::Stuck(_) | PodState::Running => self.changed().await?,
            }
        }
    }

    /// Returns the present state; a trouble that has outlasted its grace is an error.
    fn state(&mut self) -> Result<PodState, ClusterError> {
        let Some(pod) = &self.pod else {
            return if self.gone { Err(self.deleted()) } else { Ok(PodState::Starting("the cluster")) };
        };
        let events = self.events.as_ref().map(PodEvents::seen).unwrap_or_default();
        let state = diagnose(pod, &self.container, self.remedies, events);
        let is_final = matches!(state, PodState::Exited { .. } | PodState::Killed(_));
        if !is_final && (self.gone || pod.metadata.deletion_timestamp.is_some()) {
            return Err(self.deleted());
        }
        let trouble =
            if let PodState::Stuck(trouble) = &state { Some(self.room.judge(trouble.clone())) } else { None };
        self.patience.bear(trouble)?;
        Ok(state)
    }

    fn deleted(&self) -> ClusterError {
        ClusterError::Pod(deleted(&self.namespace, &self.name, self.pod.as_ref()))
    }

    /// Waits until something is worth looking at again.
    async fn changed(&mut self) -> Result<(), ClusterError> {
        let not_started = self.pod.as_ref().is_none_or(|pod| {
            let state = diagnose(pod, &self.container, self.remedies, &[]);
            matches!(state, PodState::Starting(_) | PodState::Stuck(_))
        });
        if !not_started {
            // They tell why a pod does not start; now it has.
            self.events = None;
        }
        let look_at_events = not_started && self.events.is_none();
        let event_seen = async {
            match &mut self.events {
                Some(events) => events.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.pods.next() => self.pod_changed(event?),
            () = event_seen => {}
            () = self.room.changed() => {}
            () = tokio::time::sleep_until(self.created + EVENTS_AFTER), if look_at_events => {
                self.events = Some(PodEvents::watch(&self.cluster, &self.namespace, &self.name));
            }
            () = self.patience.exhausted() => {}
        }
        Ok(())
    }

    fn pod_changed(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed = false,
            watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => {
                self.listed = true;
                self.pod = Some(pod);
            }
            watcher::Event::InitDone => self.gone = !self.listed,
            watcher::Event::Delete(pod) => {
                self.pod = Some(pod);
                self.gone = true;
            }
        }
    }
}
