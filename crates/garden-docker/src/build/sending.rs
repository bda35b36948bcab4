//! The step in which the classic builder is sent the context.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use garden_build_core::{EventSink, Step};

/// How far the context is on its way to the classic builder. Cheap to clone: bollard's connection reports what it takes, and the reader of
/// the daemon's answer when the builder has all of it.
#[derive(Clone, Debug)]
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

    /// The connection has taken a piece.
    pub(crate) fn took(&self) {
        if let Some(step) = &*self.step() {
            step.progress(self.0.read.load(Ordering::Relaxed), Some(self.0.total));
        }
    }

    /// The builder has the context.
    pub(crate) fn done(&self) {
        self.took();
        if let Some(step) = self.step().take() {
            step.done();
        }
    }

    /// The build has failed, and maybe because of what was sent.
    pub(crate) fn failed(&self, error: &str) {
        if let Some(step) = self.step().take() {
            step.failed(error);
        }
    }

    /// Returns the sink of the step, until it has ended.
    pub(crate) fn events(&self) -> Option<EventSink> {
        self.step().as_ref().map(|step| step.events().clone())
    }

    fn step(&self) -> MutexGuard<'_, Option<Step>> {
        // It is there or not, whoever panicked.
        self.0.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
