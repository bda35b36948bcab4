use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Event;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};

use crate::api::{Cluster, is_refused};

/// A pod that starts within this time is never asked for its events.
pub(crate) const EVENTS_AFTER: Duration = Duration::from_secs(2);

/// The events about one pod, which tell why it does not start.
///
/// Events make the diagnosis better; a user who may not read them can build all the same.
pub(crate) struct PodEvents {
    stream: Option<BoxStream<'static, watcher::Result<watcher::Event<Event>>>>,
    events: Vec<Event>,
}

impl std::fmt::Debug for PodEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodEvents").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

impl PodEvents {
    /// Watches the events about the pod `name`.
    pub(crate) fn watch(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        Self::about(cluster, namespace, "Pod", name)
    }

    /// Watches the events about an object of another kind, such as the one that is to make the pod.
    pub(crate) fn about(cluster: &Cluster, namespace: &str, kind: &str, name: &str) -> Self {
        let fields = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let config = watcher::Config::default().fields(&fields);
        let events = watcher(cluster.api_to_watch::<Event>(namespace), config);
        Self { stream: Some(events.default_backoff().boxed()), events: Vec::new() }
    }

    /// Returns what has been seen.
    pub(crate) fn seen(&self) -> &[Event] {
        &self.events
    }

    /// Waits until there is something new to see, for ever if nothing comes.
    pub(crate) async fn changed(&mut self) {
        while let Some(stream) = &mut self.stream {
            match stream.next().await {
                Some(Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event))) => {
                    self.events.retain(|known| known.metadata.uid != event.metadata.uid);
                    self.events.push(event);
                    return;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "could not read the events about a builder pod");
                    // Whatever else it is, the watch goes on after it.
                    if is_refused(&error) {
                        self.stream = None;
                    }
                }
                None => self.stream = None,
            }
        }
        std::future::pending::<()>().await;
    }
}
