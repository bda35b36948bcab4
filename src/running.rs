//! The operations of a builder that run: how one is begun, and how a program waits for all of them before it ends.
//!
//! Why: docs/decisions/25-no-destructor-waits.md

use std::future::{Future, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use garden_build_core::{Error, ErrorKind, EventSink, EventSource, Result, event_channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::Operation;

/// An operation that was begun. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) cancel: CancellationToken,
    /// Cancelled when the operation has ended.
    pub(crate) ended: CancellationToken,
    pub(crate) events: EventSource,
    /// What it does, for people.
    what: Arc<str>,
    is_detached: Arc<AtomicBool>,
}

impl Running {
    /// Takes note that nobody need wait for it any more.
    pub(crate) fn detach(&self) {
        self.is_detached.store(true, Ordering::Relaxed);
    }

    /// Whether it runs without an owner, or ends without one.
    fn is_left_alone(&self) -> bool {
        self.cancel.is_cancelled() || self.is_detached.load(Ordering::Relaxed)
    }
}

/// Starts `work` in a task of its own. It reports to the sink, and stops when the token is cancelled. `what` says what it does.
pub(crate) fn start<T, F>(
    what: impl Into<Arc<str>>,
    work: impl FnOnce(EventSink, CancellationToken) -> F,
) -> Operation<T>
where
    T: Clone + Send + Sync + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let what = what.into();
    let span = tracing::info_span!(target: "garden_build", "operation", what = &*what);
    // The steps of the operation are parts of it, whoever begins them.
    let (events, stream) = span.in_scope(event_channel);
    let (cancel, ended) = (CancellationToken::new(), CancellationToken::new());
    let running = Running {
        cancel: cancel.clone(),
        ended: ended.clone(),
        events: events.source(),
        what: Arc::clone(&what),
        is_detached: Arc::default(),
    };
    // Also when the work panics, or its runtime ends.
    let ended = ended.drop_guard();
    // Whoever has read the events to their end may ask for the outcome.
    let open = events.clone();
    let work = span.in_scope(|| work(events, cancel));
    let working = async move {
        let outcome = work.await;
        drop(ended);
        drop(open);
        outcome
    };
    let task = tokio::spawn(working.instrument(span));
    let outcome = async move {
        task.await.unwrap_or_else(|error| {
            let message = format!("this broke off: {what}");
            Err(Error::new(ErrorKind::Unexpected, message).with_source(error))
        })
    };
    Operation::new(running, outcome.boxed().shared(), stream)
}

/// All operations of a builder and its clones. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: Vec<Running>,
    /// No further operation begins.
    is_shut_down: bool,
}

impl Operations {
    /// Begins `work`, unless the builder was shut down: see [`start`].
    pub(crate) fn begin<T, F>(
        &self,
        what: impl Into<Arc<str>>,
        work: impl FnOnce(EventSink, CancellationToken) -> F,
    ) -> Operation<T>
    where
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut state = self.state();
        if state.is_shut_down {
            drop(state);
            let what = what.into();
            let message = format!("this does not begin, as its builder was shut down: {what}");
            return start(what, |_, _| ready(Err(Error::new(ErrorKind::Cancelled, message))));
        }
        let operation = start(what, work);
        state.running.retain(|running| !running.ended.is_cancelled());
        state.running.push(operation.running().clone());
        operation
    }

    /// Waits until every operation has ended that was dropped, cancelled or detached.
    pub(crate) async fn settled(&self) {
        loop {
            let left: Vec<_> = self.running().into_iter().filter(Running::is_left_alone).collect();
            if left.is_empty() {
                return;
            }
            join_all(left.iter().map(|running| running.ended.cancelled())).await;
        }
    }

    /// Cancels all operations, and lets none begin. Waits for their end for `patience`, and returns what those are that have not ended.
    pub(crate) async fn shut_down(&self, patience: Duration) -> Vec<Arc<str>> {
        self.state().is_shut_down = true;
        let running = self.running();
        for running in &running {
            running.cancel.cancel();
        }
        let _ = timeout(patience, join_all(running.iter().map(|running| running.ended.cancelled()))).await;
        self.running().into_iter().map(|running| running.what).collect()
    }

    fn running(&self) -> Vec<Running> {
        let mut state = self.state();
        state.running.retain(|running| !running.ended.is_cancelled());
        state.running.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every method leaves the list consistent, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
