//! Reports that a task which repeats while a build runs has failed, and that it succeeds again.

use garden_build_core::{EventSink, WarningCode};

/// Warns once when the cluster can no longer record that a builder is in use, and reports once when it can again. The record is
/// tried every few seconds.
#[derive(Debug)]
pub(crate) struct Renewal<'a> {
    events: &'a EventSink,
    has_failed: bool,
}

impl<'a> Renewal<'a> {
    pub(crate) fn new(events: &'a EventSink) -> Self {
        Self { events, has_failed: false }
    }

    /// Takes note that it has failed. `message` says what that means, `hint` what to do about it.
    pub(crate) fn failed(&mut self, message: impl FnOnce() -> String, hint: impl FnOnce() -> String) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.events.warn(WarningCode::LeaseNotRenewed, message(), Some(hint()));
        }
    }

    /// Takes note that it has succeeded.
    pub(crate) fn succeeded(&mut self, message: impl FnOnce() -> String) {
        if std::mem::take(&mut self.has_failed) {
            self.events.log(message());
        }
    }
}
