//! What every verb of a [`Builder`](crate::Builder) returns: something that runs, and its events.
//!
//! Why: docs/decisions/25-no-destructor-waits.md

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use garden_build_core::{Event, EventStream, Result};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::BuiltImage;
use crate::running::Running;

/// A running build.
pub type Build = Operation<BuiltImage>;

/// Something that runs: a [`Build`], an installation, a clean-up. It began when it was made, and runs whether or not anyone looks.
///
/// As a [`Future`] it is its result: `.await` it, or poll it by `&mut`. As a [`Stream`](futures::Stream) it is its events, which end when it
/// has ended; [`next_event`](Self::next_event) is the same without the trait. Events never hold anything up: a caller that reads too slowly, or
/// not at all, loses log lines, and gets an event that says how many.
///
/// With both `FutureExt` and `StreamExt` in scope, [`split`](Self::split) it first: some of their methods have the same name.
///
/// Dropping it cancels it: it then removes what it has created in the cluster for itself, within seconds, for as long as the runtime
/// lives. [`Builder::settled`](crate::Builder::settled) waits for that. [`detach`](Self::detach) lets it run on.
///
/// ```no_run
/// # async fn example(builder: garden_build::Builder, request: garden_build::BuildRequest) -> garden_build::Result<()> {
/// let mut build = builder.build(request);
/// while let Some(event) = build.next_event().await {
///     println!("{event}");
/// }
/// let image = build.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it is cancelled when it is dropped"]
pub struct Operation<T> {
    handle: OperationHandle<T>,
    events: EventStream,
}

impl<T> Operation<T> {
    pub(crate) fn new(running: Running, outcome: Outcome<T>, events: EventStream) -> Self {
        let cancels = Some(running.cancel.clone().drop_guard());
        Self { handle: OperationHandle { outcome, running, cancels }, events }
    }

    pub(crate) fn running(&self) -> &Running {
        &self.handle.running
    }

    /// Waits for the next event; `None` when the operation [has ended](Self::is_finished).
    ///
    /// Cancel safe: dropping the future loses no event.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.next().await
    }

    /// Takes it apart: the handle is what is awaited, cancelled and detached, the events may be read elsewhere.
    pub fn split(self) -> (OperationHandle<T>, EventStream) {
        (self.handle, self.events)
    }

    /// See [`OperationHandle::is_finished`].
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// See [`OperationHandle::cancellation`].
    pub fn cancellation(&self) -> CancellationToken {
        self.handle.cancellation()
    }

    /// See [`OperationHandle::until`].
    pub fn until(self, signal: impl Future + Send + 'static) -> Self {
        Self { handle: self.handle.until(signal), ..self }
    }

    /// See [`OperationHandle::detach`].
    pub fn detach(self) -> Detached<T> {
        self.handle.detach()
    }
}

impl<T: Clone> Operation<T> {
    /// See [`OperationHandle::cancel`].
    ///
    /// # Errors
    /// With [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), unless it ended before.
    pub async fn cancel(self) -> Result<T> {
        self.handle.cancel().await
    }
}

/// The result of an [`Operation`], without its events.
#[must_use = "the operation is cancelled when this is dropped"]
pub struct OperationHandle<T> {
    outcome: Outcome<T>,
    running: Running,
    /// Cancels the operation when this is dropped, unless the operation is detached.
    cancels: Option<DropGuard>,
}

impl<T> OperationHandle<T> {
    /// Whether the operation has ended. Then awaiting it returns at once.
    pub fn is_finished(&self) -> bool {
        self.running.ended.is_cancelled()
    }

    /// Returns the token that cancels the operation, for whoever is to decide about it: from another task, or from a signal's handler. The operation
    /// then cleans up, reports what it does, and ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub fn cancellation(&self) -> CancellationToken {
        self.running.cancel.clone()
    }

    /// Cancels the operation when `signal` completes before it; what the signal yields does not count. The operation then cleans up, reports what it does, and
    /// ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    ///
    /// ```no_run
    /// # async fn example(builder: garden_build::Builder, request: garden_build::BuildRequest) -> garden_build::Result<()> {
    /// // Ctrl-C leaves nothing behind.
    /// let image = builder.build(request.clone()).until(tokio::signal::ctrl_c()).await?;
    ///
    /// // One token for many operations, and for whatever else a program does.
    /// let token = garden_build::CancellationToken::new();
    /// let one = builder.build(request.clone()).until(token.clone().cancelled_owned());
    /// let another = builder.status(request).until(token.cancelled_owned());
    /// # Ok(())
    /// # }
    /// ```
    pub fn until(self, signal: impl Future + Send + 'static) -> Self {
        let running = self.running.clone();
        tokio::spawn(async move {
            if running.ended.run_until_cancelled(signal).await.is_some() {
                running.cancel.cancel();
            }
        });
        self
    }

    /// Lets the operation run to its end, whoever waits for it. What is returned finds it again, and may be dropped.
    pub fn detach(self) -> Detached<T> {
        let Self { outcome, running, cancels } = self;
        running.detach();
        cancels.map(DropGuard::disarm);
        Detached { outcome, running }
    }
}

impl<T: Clone> OperationHandle<T> {
    /// Cancels the operation and waits until it has cleaned up.
    ///
    /// # Errors
    /// With [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), unless it ended before.
    pub async fn cancel(self) -> Result<T> {
        self.running.cancel.cancel();
        self.await
    }
}

impl<T: Clone> Future for Operation<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.handle.outcome.poll_unpin(cx)
    }
}

impl<T> futures::Stream for Operation<T> {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}

impl<T: Clone> Future for OperationHandle<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.outcome.poll_unpin(cx)
    }
}

impl<T> fmt::Debug for OperationHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationHandle").field("running", &self.running).finish_non_exhaustive()
    }
}

/// An operation that runs to its end, whoever waits for it; see [`Operation::detach`]. Cheap to clone. A service keeps it to
/// answer who asks later, even after the end.
#[derive(Clone)]
pub struct Detached<T> {
    outcome: Outcome<T>,
    running: Running,
}

impl<T> Detached<T> {
    /// Returns the operation once more: its events begin with the steps and warnings so far, and its result can be awaited. Dropping it does not
    /// cancel the operation; [`Operation::cancel`] does, for all who wait for it.
    pub fn attach(&self) -> Operation<T> {
        let (outcome, running) = (self.outcome.clone(), self.running.clone());
        let events = running.events.stream();
        Operation { handle: OperationHandle { outcome, running, cancels: None }, events }
    }

    /// Whether the operation has ended.
    pub fn is_finished(&self) -> bool {
        self.running.ended.is_cancelled()
    }

    /// See [`OperationHandle::cancellation`].
    pub fn cancellation(&self) -> CancellationToken {
        self.running.cancel.clone()
    }
}

impl<T> fmt::Debug for Detached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").field("running", &self.running).finish_non_exhaustive()
    }
}

/// What an operation ends with, for as many as wait for it.
pub(crate) type Outcome<T> = Shared<BoxFuture<'static, Result<T>>>;
