use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Caches, Digest, Error, ErrorKind, EventSink, Remedy, Result, TraceContext, seconds};

/// Stands for a time limit whose end the clock cannot represent.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long what must not be broken off may go on when a build has to stop. A backend has one such thing before its clean-up at most, so that a
/// cancellation takes no more than five seconds.
const GRACE: Duration = Duration::from_secs(2);

/// What surrounds a running build: where it reports to and what ends it early.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuildControl {
    /// Where the build reports what happens.
    pub events: EventSink,
    /// Cancelled when the caller loses interest.
    pub cancel: CancellationToken,
    /// When the build must have ended.
    pub deadline: Instant,
    /// How long the build was allowed in all, for messages.
    pub time_limit: Duration,
    /// Where to keep what later builds can use.
    pub caches: Caches,
    /// The span that the builder's own spans belong to, if the caller traces the build. Handed to whatever can go on with it.
    pub trace_context: Option<TraceContext>,
    begun: Instant,
    witness: Option<Arc<dyn Witness>>,
}

/// Who can tell whether the registry has what a builder says it has pushed.
pub trait Witness: Debug + Send + Sync {
    /// Waits until the tag of the build's image stands for `pushed`, which it did not before the build. Returns `false` if it does
    /// not soon, or if the registry does not answer.
    fn sees(&self, pushed: Digest) -> BoxFuture<'_, bool>;

    /// Asks once which image the tag stands for now. Returns `None` if there is none, or if the registry does not answer.
    fn finds(&self) -> BoxFuture<'_, Option<Digest>>;
}

impl BuildControl {
    /// Surrounds a build that begins now, may take `time_limit`, and keeps nothing for later ones.
    pub fn new(events: EventSink, cancel: CancellationToken, time_limit: Duration) -> Self {
        let now = Instant::now();
        let deadline = now.checked_add(time_limit).unwrap_or(now + FOR_EVER);
        Self {
            events,
            cancel,
            deadline,
            time_limit,
            caches: Caches::none(),
            trace_context: None,
            begun: Instant::now(),
            witness: None,
        }
    }

    /// Keeps what later builds can use in `caches`.
    #[must_use]
    pub fn with_caches(mut self, caches: Caches) -> Self {
        self.caches = caches;
        self
    }

    /// Has the builder's own spans, if it makes any, belong to this one.
    #[must_use]
    pub fn with_trace_context(mut self, context: Option<TraceContext>) -> Self {
        self.trace_context = context;
        self
    }

    /// Lets the backend ask whether its push has arrived.
    #[must_use]
    pub fn with_witness(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// Waits until the registry shows that the tag of the build's image stands for `pushed`, which it did not before the build. This
    /// is how a backend may believe a success that somebody else than its builder could have reported. Returns `false` if the registry
    /// does not show it soon, or cannot be asked from here.
    pub async fn is_witnessed(&self, pushed: Digest) -> bool {
        match &self.witness {
            Some(witness) => witness.sees(pushed).await,
            None => false,
        }
    }

    /// Returns when the build began, for all times that it is tried.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether the registry can be asked from here: see [`is_witnessed`](Self::is_witnessed) and [`existing`](Self::existing).
    pub fn has_witness(&self) -> bool {
        self.witness.is_some()
    }

    /// Asks the registry which image the tag of the build's image stands for now: another build may have pushed it meanwhile. Returns `None` if
    /// there is none, if the registry does not answer, or without a [witness](Self::has_witness).
    pub async fn existing(&self) -> Option<Digest> {
        self.witness.as_ref()?.finds().await
    }

    /// Runs `work` unless the build has to stop before.
    ///
    /// # Errors
    /// With why it has to stop, or the `work`'s own.
    pub async fn until_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.stopped() => Err(error),
            outcome = work => outcome,
        }
    }

    /// Runs `work`, which goes on when the build has to stop, but not for long: two seconds later, this returns `None`. So a clean-up whose other end
    /// is silent does not keep whoever has cancelled.
    pub async fn within_grace<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let over = async {
            let _why = self.stopped().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = over => None,
        }
    }

    /// Waits until the build has to stop, and returns why.
    pub async fn stopped(&self) -> Error {
        tokio::select! {
            () = self.cancel.cancelled() => Error::new(ErrorKind::Cancelled, "the build was cancelled"),
            () = tokio::time::sleep_until(self.deadline) => self.out_of_time(),
        }
    }

    /// States that time is up, and for what it was spent.
    fn out_of_time(&self) -> Error {
        let limit = seconds(self.time_limit);
        let account = self.events.account().map(|account| format!(": {account}")).unwrap_or_default();
        Error::new(
            ErrorKind::Timeout,
            format!("the build did not end within its time limit of {limit}{account}"),
        )
        .with_hint(Remedy::request(&["timeout"], "raise the request's `timeout` if the build needs longer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_channel;

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_of_less_than_a_second_is_named_as_such() {
        let (events, _stream) = event_channel();
        let scope = BuildControl::new(events, CancellationToken::new(), Duration::from_millis(500));
        let error = scope.stopped().await;
        assert!(error.message().contains("time limit of 0.5 s"), "{error}");
        assert_eq!(error.hint_data().map(|hint| hint.options.as_slice()), Some(&["timeout".to_owned()][..]));
    }
}
