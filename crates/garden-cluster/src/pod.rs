use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use garden_build_core::ErrorKind;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use tokio::time::Instant;

use crate::{Cluster, ClusterError, Diagnosis, PodState, Trouble, diagnose};

/// A pod that starts within this time is never asked for its events.
const EVENTS_AFTER: Duration = Duration::from_secs(2);

/// How long the watch may fail before the build does.
const WATCH_PATIENCE: Duration = Duration::from_secs(30);

/// A builder pod that was created, followed until its container ends.
pub struct BuildPod {
    cluster: Cluster,
    namespace: String,
    name: String,
    container: String,
    created: Instant,
    pods: BoxStream<'static, watcher::Result<watcher::Event<Pod>>>,
    events: Option<BoxStream<'static, watcher::Result<watcher::Event<Event>>>>,
    /// What is known of the pod; `None` until the watch has reported it first.
    pod: Option<Pod>,
    pod_events: Vec<Event>,
    /// The relist under way has shown the pod.
    listed: bool,
    gone: bool,
    trouble: Option<(Trouble, Instant)>,
    failing_since: Option<Instant>,
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
    /// Watches the pod `name`, whose work is done by `container`.
    pub fn watch(cluster: &Cluster, namespace: &str, name: &str, container: &str) -> Self {
        let only_this = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let pods = watcher(cluster.api::<Pod>(namespace), only_this).default_backoff().boxed();
        Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            container: container.to_owned(),
            created: Instant::now(),
            pods,
            events: None,
            pod: None,
            pod_events: Vec::new(),
            listed: false,
            gone: false,
            trouble: None,
            failing_since: None,
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
        // They tell why a pod does not start; now it has.
        self.ignore_events();
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
        let state = diagnose(pod, &self.container, &self.pod_events);
        let is_final = matches!(state, PodState::Exited { .. } | PodState::Killed(_));
        if !is_final && (self.gone || pod.metadata.deletion_timestamp.is_some()) {
            return Err(self.deleted());
        }
        let PodState::Stuck(trouble) = &state else {
            self.trouble = None;
            return Ok(state);
        };
        let same = |known: &&(Trouble, Instant)| known.0.diagnosis.kind == trouble.diagnosis.kind;
        let since = self.trouble.as_ref().filter(same).map_or_else(Instant::now, |(_, since)| *since);
        if since.elapsed() >= trouble.grace {
            return Err(ClusterError::Pod(trouble.diagnosis.clone()));
        }
        self.trouble = Some((trouble.clone(), since));
        Ok(state)
    }

    /// Drains, preemption and taints delete a pod as well, and say so in a condition.
    /// Source: Kubernetes, "Disruptions", section "Pod disruption conditions".
    fn deleted(&self) -> ClusterError {
        let name = format!("Pod {}/{}", self.namespace, self.name);
        let conditions = self.pod.as_ref().and_then(|pod| pod.status.as_ref()?.conditions.as_deref());
        let disruption = conditions
            .unwrap_or_default()
            .iter()
            .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
        let (kind, message) = match disruption {
            Some(condition) => {
                let reason = condition.reason.as_deref().unwrap_or_default();
                let message = condition.message.as_deref().unwrap_or_default();
                (ErrorKind::Evicted, format!("{name} was taken from its node ({reason}): {message}"))
            }
            None => {
                (ErrorKind::BuilderLost, format!("{name} was deleted by somebody else while it was building"))
            }
        };
        let hint = Some("build again".to_owned());
        ClusterError::Pod(Diagnosis { kind, message, hint, retryable: true })
    }

    /// Waits until something is worth looking at again.
    async fn changed(&mut self) -> Result<(), ClusterError> {
        let not_started = self.pod.as_ref().is_none_or(|pod| {
            let state = diagnose(pod, &self.container, &[]);
            matches!(state, PodState::Starting(_) | PodState::Stuck(_))
        });
        let look_at_events = not_started && self.events.is_none();
        let grace_ends = self.trouble.as_ref().map(|(trouble, since)| *since + trouble.grace);
        let events = async {
            match &mut self.events {
                Some(events) => events.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.pods.next() => match event {
                Some(event) => return self.pod_changed(event),
                None => return Err(self.deleted()),
            },
            Some(event) = events => self.event_seen(event),
            () = tokio::time::sleep_until(self.created + EVENTS_AFTER), if look_at_events => self.watch_events(),
            () = tokio::time::sleep_until(grace_ends.unwrap_or_else(Instant::now)), if grace_ends.is_some() => {}
        }
        Ok(())
    }

    fn pod_changed(&mut self, event: watcher::Result<watcher::Event<Pod>>) -> Result<(), ClusterError> {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.watch_failed(error),
        };
        // Init only announces that a list will be asked for.
        if !matches!(event, watcher::Event::Init) {
            self.failing_since = None;
        }
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
        Ok(())
    }

    /// The watch reconnects by itself; only an answer that will not change ends the build at once.
    fn watch_failed(&mut self, error: watcher::Error) -> Result<(), ClusterError> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let (watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause)) = error
        else {
            return Ok(());
        };
        let refused = matches!(&cause, kube::Error::Api(status) if matches!(status.code, 401 | 403));
        if refused || since.elapsed() >= WATCH_PATIENCE {
            return Err(ClusterError::of(format!("watch Pod {}/{}", self.namespace, self.name), cause));
        }
        tracing::debug!(error = %cause, pod = self.name, "the watch of the builder pod broke and is resumed");
        Ok(())
    }

    fn watch_events(&mut self) {
        let fields = format!("involvedObject.kind=Pod,involvedObject.name={}", self.name);
        let about_pod = watcher::Config::default().fields(&fields);
        let events = watcher(self.cluster.api::<Event>(&self.namespace), about_pod);
        self.events = Some(events.default_backoff().boxed());
    }

    /// From now on, and for good: a stream that never yields keeps them from being asked for.
    fn ignore_events(&mut self) {
        self.events = Some(futures::stream::pending().boxed());
    }

    fn event_seen(&mut self, event: watcher::Result<watcher::Event<Event>>) {
        match event {
            Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) => {
                self.pod_events.retain(|known| known.metadata.uid != event.metadata.uid);
                self.pod_events.push(event);
            }
            Ok(_) => {}
            // Events make the diagnosis better; a user who may not read them can build all the same.
            Err(error) => {
                tracing::debug!(%error, "could not read the events about the builder pod");
                self.ignore_events();
            }
        }
    }
}
