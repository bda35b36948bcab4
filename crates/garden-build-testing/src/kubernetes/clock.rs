use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The server's clock: it goes as tokio's does, so that a test that pauses time pauses it too.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Timestamp,
    /// Taken at the first look, as a clock may be made outside of a runtime.
    started: Option<Instant>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Timestamp::now(), started: None }
    }

    pub(crate) fn now(&mut self) -> Timestamp {
        let started = *self.started.get_or_insert_with(Instant::now);
        let passed = SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::ZERO);
        self.start.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn put_forward(&mut self, duration: Duration) {
        let by = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        self.start = self.start.checked_add(by).unwrap_or(Timestamp::MAX);
    }
}

/// As metadata has times: to the second.
pub(crate) fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
