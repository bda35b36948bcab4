//! Saying that the API server does not answer, to whoever waits for something that needs it.

use garden_build_core::EventSink;

use super::Target;

impl Target {
    /// Whether images cannot be asked for without the cluster: they are in it, or the credentials for their registry are.
    pub(crate) fn asks_cluster(&self) -> bool {
        self.reads_secrets || self.in_cluster().is_some() || matches!(self.place, super::Place::Nodes(_))
    }

    /// Does `work`, and warns within 15 seconds when the API server does not answer any more.
    pub(crate) async fn reporting_silence<T>(&self, events: &EventSink, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.cluster().report_silence(events) => match never {},
        }
    }

    /// Does `work` with images, which may not need the cluster: only if it does, silence of the API server is reported.
    pub(crate) async fn with_images<T>(&self, events: &EventSink, work: impl Future<Output = T>) -> T {
        if self.asks_cluster() { self.reporting_silence(events, work).await } else { work.await }
    }
}
