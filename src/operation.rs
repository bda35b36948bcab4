use std::future::{Future, IntoFuture};
use std::pin::Pin;

use garden_build_core::{Error, ErrorKind, Event, EventStream, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::BuiltImage;

/// A running build.
pub type Build = Operation<BuiltImage>;

/// Something that runs: a [`Build`], or an installation.
///
/// Await it for its result; read [`next_event`](Self::next_event) before or meanwhile to see what
/// happens. Dropping it cancels it; it then removes what it has created in the cluster for itself,
/// within seconds, for as long as the runtime lives. [`detach`](Self::detach) lets it run on.
#[derive(Debug)]
#[must_use = "it is cancelled when it is dropped"]
pub struct Operation<T> {
    events: EventStream,
    task: JoinHandle<Result<T>>,
    cancel: DropGuard,
}

impl<T: Send + 'static> Operation<T> {
    /// Runs `work`, which reports to `events` and stops when `cancel` is cancelled.
    pub(crate) fn spawn(
        events: EventStream,
        cancel: CancellationToken,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Self {
        Self { events, task: tokio::spawn(work), cancel: cancel.drop_guard() }
    }

    /// Waits for the next event; `None` when the operation has ended.
    ///
    /// Events never hold up anything: a caller that reads too slowly, or not at all, loses log
    /// lines and is told how many.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.next().await
    }

    /// Cancels the operation and waits until it has cleaned up.
    ///
    /// # Errors
    /// With [`ErrorKind::Cancelled`], unless it ended before.
    pub async fn cancel(self) -> Result<T> {
        drop(self.cancel);
        ended(self.task).await
    }

    /// Lets the operation run to its end without anyone waiting for it.
    pub fn detach(self) {
        self.cancel.disarm();
    }
}

impl<T: Send + 'static> IntoFuture for Operation<T> {
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Waits for the result. Dropping the future cancels the operation.
    fn into_future(self) -> Self::IntoFuture {
        let Self { events, task, cancel } = self;
        Box::pin(async move {
            let outcome = ended(task).await;
            drop((events, cancel));
            outcome
        })
    }
}

async fn ended<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    task.await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Unexpected, "an operation's task ended before the operation")
            .with_source(error))
    })
}
