//! Why something is not certain, and what can be done about it.

use garden_build_core::{Error, LogSource, Step};

/// Why it is not certain that a base image has no triggers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Doubt {
    /// Why, for people.
    pub(crate) reason: String,
    /// What can be done about it. Nothing has to be: the whole context is sent instead.
    remedies: Vec<String>,
}

impl Doubt {
    /// Doubts for all of these reasons.
    pub(super) fn all(doubts: Vec<Self>) -> Self {
        let reasons: Vec<&str> = doubts.iter().map(|doubt| doubt.reason.as_str()).collect();
        let reason = reasons.join("; ");
        Self { reason, remedies: doubts.into_iter().flat_map(|doubt| doubt.remedies).collect() }
    }

    /// Describes which base image this is about.
    pub(super) fn about(self, base: &str) -> Self {
        let reason = format!("whether {base} has triggers (ONBUILD) is not known: {}", self.reason);
        Self { reason, ..self }
    }

    /// Reports in `step` what can be done. The step has reported the reason already.
    pub(crate) fn log_remedies(&self, step: &Step) {
        for remedy in &self.remedies {
            step.log(LogSource::Builder, format!("to have less of the context sent: {remedy}"));
        }
    }
}

impl From<String> for Doubt {
    fn from(reason: String) -> Self {
        Self { reason, remedies: Vec::new() }
    }
}

impl From<&str> for Doubt {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl From<Error> for Doubt {
    fn from(error: Error) -> Self {
        let remedies = error.hint().map(str::to_owned).into_iter().collect();
        Self { reason: error.message().to_owned(), remedies }
    }
}
