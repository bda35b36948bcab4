//! How much a builder does at a time.

use std::sync::Arc;
use std::thread::available_parallelism;

use garden_build_core::{EventSink, StepKind};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Cheap to clone; clones share their turns.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    builds: Option<Turns>,
    scans: Turns,
}

#[derive(Clone, Debug)]
struct Turns {
    count: usize,
    free: Arc<Semaphore>,
}

impl Turns {
    fn new(count: usize) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        Self { count, free: Arc::new(Semaphore::new(count)) }
    }

    /// Waits for a turn, and says so if there is none at once.
    async fn turn(&self, to: &str, events: &EventSink) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.free.try_acquire() {
            return Some(turn);
        }
        let step =
            events.step(StepKind::Wait, format!("wait for a turn to {to}: at most {} at a time", self.count));
        // Nobody closes it.
        let turn = self.free.acquire().await.ok();
        step.done();
        turn
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { builds: None, scans: Turns::new(available_parallelism().map_or(1, usize::from)) }
    }
}

impl Limits {
    pub(crate) fn set_builds(&mut self, count: usize) {
        self.builds = Some(Turns::new(count));
    }

    pub(crate) fn set_scans(&mut self, count: usize) {
        self.scans = Turns::new(count);
    }

    /// Waits until a build may begin. It has its turn for as long as it keeps what is returned.
    pub(crate) async fn turn_to_build(&self, events: &EventSink) -> Option<SemaphorePermit<'_>> {
        match &self.builds {
            Some(turns) => turns.turn("build", events).await,
            None => None,
        }
    }

    /// Waits until a build context may be read. It has its turn for as long as it keeps what is returned.
    pub(crate) async fn turn_to_scan(&self, events: &EventSink) -> Option<SemaphorePermit<'_>> {
        self.scans.turn("read a build context", events).await
    }
}
