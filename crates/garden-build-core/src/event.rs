use std::fmt;

use serde::Serialize;

/// Names one step of one build.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize)]
pub struct StepId(pub(crate) u64);

/// Where a line of output came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stream {
    /// What the step's own command printed.
    Output,
    /// What the builder said about the step.
    Builder,
}

/// Something that happened during a build.
///
/// What happens on this side (scanning, uploading, waiting for a node) are steps as well as the
/// Dockerfile's instructions. Shaped after `BuildKit`'s status stream: steps start and end, and logs
/// and progress belong to steps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// A step began.
    StepStarted {
        /// The step.
        step: StepId,
        /// What it does, for people.
        name: String,
    },
    /// A step ended.
    StepFinished {
        /// The step.
        step: StepId,
        /// The name it started with.
        name: String,
        /// Whether its result came from a cache.
        cached: bool,
        /// What went wrong, if it failed.
        error: Option<String>,
    },
    /// A line of output.
    Log {
        /// The step that it belongs to, where this is known.
        step: Option<StepId>,
        /// Where it came from.
        stream: Stream,
        /// The line, without its end.
        line: String,
    },
    /// How far a step has come.
    Progress {
        /// The step.
        step: StepId,
        /// Bytes done so far.
        current: u64,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// Something is not as it should be, but the build goes on.
    Warning {
        /// What it is.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The consumer was too slow, and this many log lines and progress counters were dropped since it
    /// last read. Steps and warnings from before the gap may follow.
    Missed {
        /// How many events were dropped.
        count: u64,
    },
}

impl Event {
    /// Steps and warnings are few and must arrive; logs and counters may be dropped.
    pub(crate) fn is_droppable(&self) -> bool {
        matches!(self, Self::Log { .. } | Self::Progress { .. })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StepStarted { name, .. } => write!(f, "=> {name}"),
            Self::StepFinished { name, error: Some(error), .. } => write!(f, "=> {name}: FAILED: {error}"),
            Self::StepFinished { name, cached: true, .. } => write!(f, "=> {name}: cached"),
            Self::StepFinished { name, .. } => write!(f, "=> {name}: done"),
            Self::Log { line, .. } => write!(f, "   {line}"),
            Self::Progress { current, total: Some(total), .. } => write!(f, "   {current} of {total} bytes"),
            Self::Progress { current, total: None, .. } => write!(f, "   {current} bytes"),
            Self::Warning { message, hint: Some(hint) } => write!(f, "warning: {message}\n   help: {hint}"),
            Self::Warning { message, hint: None } => write!(f, "warning: {message}"),
            Self::Missed { count } => write!(f, "   ({count} lines were not shown: the reader was too slow)"),
        }
    }
}
