use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, watcher};
use tokio::time::Instant;

use crate::api::{Cluster, ClusterError, Namespaced};

/// How long a watch may fail before what waits for it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// A watch of some objects of a namespace, which survives short failures.
pub(crate) struct Watch<K> {
    action: String,
    stream: BoxStream<'static, watcher::Result<watcher::Event<K>>>,
    failing_since: Option<Instant>,
    last_failure: Option<Instant>,
}

impl<K> Debug for Watch<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("action", &self.action).finish_non_exhaustive()
    }
}

impl<K: Namespaced> Watch<K> {
    /// Watches the object `name`.
    pub(crate) fn one(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        let only_this = watcher::Config::default().fields(&format!("metadata.name={name}"));
        Self::start(cluster, namespace, only_this, name)
    }

    /// Watches the objects that the label selector chooses.
    pub(crate) fn labelled(cluster: &Cluster, namespace: &str, labels: &str) -> Self {
        Self::start(cluster, namespace, watcher::Config::default().labels(labels), labels)
    }

    fn start(cluster: &Cluster, namespace: &str, config: watcher::Config, what: &str) -> Self {
        Self {
            action: format!("watch {} {namespace}/{what}", K::kind(&())),
            stream: watcher(cluster.api_to_watch::<K>(namespace), config).default_backoff().boxed(),
            failing_since: None,
            last_failure: None,
        }
    }

    /// Waits for the next event. Dropping the future loses none.
    ///
    /// # Errors
    /// If the watch is refused, or has failed for half a minute. It may be asked again all the same.
    pub(crate) async fn next(&mut self) -> Result<watcher::Event<K>, ClusterError> {
        loop {
            match self.stream.next().await {
                // Init only announces that a list will be asked for.
                Some(Ok(event @ watcher::Event::Init)) => return Ok(event),
                Some(Ok(event)) => {
                    self.failing_since = None;
                    return Ok(event);
                }
                Some(Err(error)) => self.failed(error)?,
                // A watcher's stream has no end.
                None => std::future::pending().await,
            }
        }
    }

    /// The watch reconnects by itself; only an answer that will not change ends it at once.
    fn failed(&mut self, error: watcher::Error) -> Result<(), ClusterError> {
        let now = Instant::now();
        // The watcher waits 30 s at most before it tries again, and an answer may take as long. A failure that lies further back was
        // made up for since, though nothing has changed in the cluster that would have told so.
        if self.last_failure.is_some_and(|last| now.duration_since(last) > 3 * PATIENCE) {
            self.failing_since = None;
        }
        self.last_failure = Some(now);
        let since = *self.failing_since.get_or_insert(now);
        let (watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause)) = error
        else {
            return Ok(());
        };
        if is_refusal(&cause) || since.elapsed() >= PATIENCE {
            return Err(ClusterError::of(self.action.clone(), cause));
        }
        tracing::debug!(error = %cause, action = self.action, "a watch broke and is resumed");
        Ok(())
    }
}

/// The objects that a watch shows, as they are now.
pub(crate) struct Watched<K: Namespaced> {
    watch: Watch<K>,
    objects: Writer<K>,
    listed: bool,
}

impl<K: Namespaced> Watched<K> {
    /// Keeps what `watch`, which nobody has read from, shows.
    pub(crate) fn of(watch: Watch<K>) -> Self {
        Self { watch, objects: Writer::new(()), listed: false }
    }

    /// Waits until something is different, or may be. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As those of [`Watch::next`].
    pub(crate) async fn changed(&mut self) -> Result<(), ClusterError> {
        let event = self.watch.next().await?;
        self.listed |= matches!(event, watcher::Event::InitDone);
        self.objects.apply_watcher_event(&event);
        Ok(())
    }

    /// Returns the objects that there are; `None` until the cluster has listed them all.
    pub(crate) fn all(&self) -> Option<Vec<K>> {
        let objects = self.objects.as_reader().state();
        self.listed.then(|| objects.iter().map(|object| K::clone(object)).collect())
    }
}

/// Whether a watch failed because the user may not watch, which trying again does not change.
pub(crate) fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => is_refusal(cause),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => false,
    }
}

fn is_refusal(cause: &kube::Error) -> bool {
    matches!(cause, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

#[cfg(test)]
mod tests;
