//! The step in which the classic builder is sent the context.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use garden_build_core::{EventSink, Step};

/// How far the context is on its way to the classic builder. The connection [reports](Self::reporter) what it takes, and the reader of
/// the daemon's answer when the builder has all of it.
///
/// It belongs to the build: when that is dropped, the step ends, however long the connection holds on to what it was to send.
#[derive(Debug)]
pub(crate) struct Sending(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Until it has ended.
    step: Mutex<Option<Step>>,
    /// Bytes of the context that were read so far.
    read: Arc<AtomicU64>,
    /// How many there are.
    total: u64,
}

impl Sending {
    /// Reports to `step` how much of `total` bytes is sent.
    pub(crate) fn new(step: Step, total: u64) -> Self {
        Self(Arc::new(Inner { step: Mutex::new(Some(step)), read: Arc::default(), total }))
    }

    /// Returns what counts the bytes that were read of the context.
    pub(crate) fn read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.read)
    }

    /// Returns what is called when the connection has taken a piece.
    pub(crate) fn reporter(&self) -> impl Fn() + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.0);
        move || {
            if let Some(inner) = inner.upgrade() {
                inner.report();
            }
        }
    }

    /// The builder has the context.
    pub(crate) fn done(&self) {
        self.0.report();
        if let Some(step) = self.0.step().take() {
            step.done();
        }
    }

    /// The build has failed, and maybe because of what was sent.
    pub(crate) fn failed(&self, error: &str) {
        if let Some(step) = self.0.step().take() {
            step.failed(error);
        }
    }

    /// Returns the sink of the step, until it has ended.
    pub(crate) fn events(&self) -> Option<EventSink> {
        self.0.step().as_ref().map(|step| step.events().clone())
    }
}

impl Inner {
    fn report(&self) {
        if let Some(step) = &*self.step() {
            step.progress(self.read.load(Ordering::Relaxed), Some(self.total));
        }
    }

    fn step(&self) -> MutexGuard<'_, Option<Step>> {
        // It is there or not, whoever panicked.
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use garden_build_core::{StepKind, event_channel};

    use super::*;

    #[tokio::test]
    async fn the_step_ends_with_the_build_even_if_the_connection_holds_on_to_the_rest() {
        let (events, mut reader) = event_channel();
        let sending = Sending::new(events.step(StepKind::Upload, "send"), 100);
        drop(events);
        let report = sending.reporter();
        report();
        drop(sending);
        while reader.next().await.is_some() {}
        report();
    }
}
