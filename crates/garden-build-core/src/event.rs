use std::fmt;

use serde::Serialize;

use crate::printable::Printable;

/// Names one step. No other step of this process has the same name.
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
    /// The consumer was too slow, and this many events were dropped since it last read: log lines and progress counters, and
    /// steps and warnings only if there were thousands of them. Steps and warnings from before the gap may follow.
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

    /// About how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        let text = match self {
            Self::StepStarted { name, .. } => name.len(),
            Self::StepFinished { name, error, .. } => name.len() + error.as_ref().map_or(0, String::len),
            Self::Log { line, .. } => line.len(),
            Self::Warning { message, hint } => message.len() + hint.as_ref().map_or(0, String::len),
            Self::Progress { .. } | Self::Missed { .. } => 0,
        };
        size_of::<Self>() + text
    }
}

/// For a terminal. Names, lines and messages are in the words of builders, registries and RUN steps: what controls a terminal in them is
/// shown as text, and colours are left out. The fields have them as they came.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, lines) = (Printable::line, Printable::lines);
        match self {
            Self::StepStarted { name, .. } => write!(f, "=> {}", line(name)),
            Self::StepFinished { name, error: Some(error), .. } => {
                write!(f, "=> {}: FAILED: {}", line(name), lines(error))
            }
            Self::StepFinished { name, cached: true, .. } => write!(f, "=> {}: cached", line(name)),
            Self::StepFinished { name, .. } => write!(f, "=> {}: done", line(name)),
            Self::Log { line: text, .. } => write!(f, "   {}", line(text)),
            Self::Progress { current, total: Some(total), .. } => write!(f, "   {current} of {total} bytes"),
            Self::Progress { current, total: None, .. } => write!(f, "   {current} bytes"),
            Self::Warning { message, hint: Some(hint) } => {
                write!(f, "warning: {}\n   help: {}", lines(message), lines(hint))
            }
            Self::Warning { message, hint: None } => write!(f, "warning: {}", lines(message)),
            Self::Missed { count } => write!(f, "   ({count} lines were not shown: the reader was too slow)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_shown_and_kept_as_data() {
        let (step, evil) = (StepId(1), "\x1b]0;t\x07\u{202e}a\r\n=> forged".to_owned());
        let events = [
            Event::StepStarted { step, name: evil.clone() },
            Event::StepFinished { step, name: evil.clone(), cached: false, error: Some(evil.clone()) },
            Event::StepFinished { step, name: evil.clone(), cached: true, error: None },
            Event::StepFinished { step, name: evil.clone(), cached: false, error: None },
            Event::Log { step: None, stream: Stream::Output, line: evil.clone() },
            Event::Warning { message: evil.clone(), hint: Some(evil.clone()) },
            Event::Warning { message: evil.clone(), hint: None },
        ];
        for event in events {
            let shown = event.to_string();
            assert!(shown.chars().all(|shown| !shown.is_control() || shown == '\n'), "{shown:?}");
            assert!(!shown.contains('\u{202e}') && !shown.contains("\n=>"), "{shown:?}");
            assert!(shown.contains("a\\u{d}"), "{shown:?}");
            assert!(
                serde_json::to_value(&event).expect("JSON").to_string().contains("\\u001b]0;t"),
                "{event:?}"
            );
        }
        let coloured =
            Event::Log { step: None, stream: Stream::Output, line: "\x1b[32mok\x1b[0m".to_owned() };
        assert_eq!(coloured.to_string(), "   ok");
    }
}
