// Why: docs/decisions/23-events-are-data-first.md

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::milliseconds::{self, since_epoch};
use crate::printable::Printable;
use crate::progress_meter::Count;
use crate::{ImageReference, StepKind, WarningCode, WarningData};

/// Names one step of one build.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepId(u64);

impl StepId {
    /// Makes the name of a step, for events that no build has reported.
    pub fn new(number: u64) -> Self {
        Self(number)
    }
}

/// As in a log: `#3`.
impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Who wrote a line of output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogSource {
    /// The step's own command printed it.
    Output,
    /// The builder said it about the step.
    Builder,
}

/// What is counted of a step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProgressUnit {
    /// Bytes.
    Bytes,
}

/// Something that happened during a build.
///
/// What happens on this side (scanning, uploading, waiting for a node) are steps as well as the
/// Dockerfile's instructions. Shaped after `BuildKit`'s status stream: steps start and end, and logs
/// and progress belong to steps.
///
/// Programs in other languages read the same as JSON; its schema is `crates/garden-build-core/schema/event.schema.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// The image's name is known. If the whole context turns out to count, a second event has the name that replaces the first.
    #[non_exhaustive]
    ImageNamed {
        /// The name, with the tag that stands for the version.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        image: ImageReference,
    },
    /// The image has to be built, and what is created for that has this identifier in its name.
    #[non_exhaustive]
    BuildStarted {
        /// Identifies this build among all others: lower-case letters and digits.
        id: String,
        /// The image's name.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        image: ImageReference,
    },
    /// A step began.
    #[non_exhaustive]
    StepStarted {
        /// The step.
        step: StepId,
        /// The step that it is a part of.
        parent: Option<StepId>,
        /// What it does, for programs.
        kind: StepKind,
        /// What it does, for people.
        name: String,
        /// When it began, by this machine's clock. In JSON: in milliseconds since the Unix epoch.
        #[serde(with = "since_epoch")]
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        at: SystemTime,
    },
    /// A step ended.
    #[non_exhaustive]
    StepFinished {
        /// The step.
        step: StepId,
        /// The step that it is a part of.
        parent: Option<StepId>,
        /// The kind it started with.
        kind: StepKind,
        /// The name it started with.
        name: String,
        /// When it ended, by this machine's clock. In JSON: in milliseconds since the Unix epoch.
        #[serde(with = "since_epoch")]
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        at: SystemTime,
        /// How long it took. In JSON: in milliseconds.
        #[serde(with = "milliseconds")]
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        took: Duration,
        /// Whether its result came from a cache.
        cached: bool,
        /// What went wrong, if it failed.
        error: Option<String>,
    },
    /// A line of output.
    #[non_exhaustive]
    Log {
        /// The step that it belongs to, where this is known.
        step: Option<StepId>,
        /// Who wrote it.
        source: LogSource,
        /// The line, without its end.
        line: String,
    },
    /// How far a step has come. Of a step whose total is known, each whole percent is reported, of others each tenth more.
    #[non_exhaustive]
    Progress {
        /// The step.
        step: StepId,
        /// What is counted.
        unit: ProgressUnit,
        /// How much is done so far.
        current: u64,
        /// How much there is in all, if known. It may grow while a builder finds out what it needs.
        total: Option<u64>,
    },
    /// Something is not as it should be, but the build goes on.
    #[non_exhaustive]
    Warning {
        /// What it is about, for programs.
        code: WarningCode,
        /// The step that it belongs to, if it belongs to one.
        step: Option<StepId>,
        /// What it is, for people.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// What it is about in detail, for programs, where there is more than words.
        #[serde(default)]
        data: Option<WarningData>,
    },
    /// The consumer was too slow, and this many events were dropped since it last read: log lines and progress counters, and
    /// steps and warnings only if there were thousands of them. Steps and warnings from before the gap may follow.
    #[non_exhaustive]
    Missed {
        /// How many events were dropped.
        count: u64,
    },
}

/// For tests of programs that read events.
impl Event {
    /// A step that begins now.
    pub fn step_started(step: StepId, kind: impl Into<StepKind>, name: impl Into<String>) -> Self {
        Self::StepStarted { step, parent: None, kind: kind.into(), name: name.into(), at: SystemTime::now() }
    }

    /// A step that ends now, after it `took` so long, with what went wrong if it failed.
    pub fn step_finished(
        step: StepId,
        kind: impl Into<StepKind>,
        name: impl Into<String>,
        took: Duration,
        error: Option<String>,
    ) -> Self {
        let (kind, name, at) = (kind.into(), name.into(), SystemTime::now());
        Self::StepFinished { step, parent: None, kind, name, at, took, cached: false, error }
    }

    /// A line of output.
    pub fn log(step: Option<StepId>, source: LogSource, line: impl Into<String>) -> Self {
        Self::Log { step, source, line: line.into() }
    }

    /// How many bytes of a step are done, of how many.
    pub fn progress(step: StepId, current: u64, total: Option<u64>) -> Self {
        Self::Progress { step, unit: ProgressUnit::Bytes, current, total }
    }

    /// A warning that belongs to no step.
    pub fn warning(code: WarningCode, message: impl Into<String>, hint: Option<String>) -> Self {
        Self::Warning { code, step: None, message: message.into(), hint, data: None }
    }
}

impl Event {
    /// Steps and warnings are few and must arrive; logs and counters may be dropped.
    pub(crate) fn is_droppable(&self) -> bool {
        matches!(self, Self::Log { .. } | Self::Progress { .. })
    }

    /// Gives its steps the numbers that `number` says.
    pub(crate) fn with_steps(mut self, number: &mut dyn FnMut(StepId) -> StepId) -> Self {
        match &mut self {
            Self::StepStarted { step, parent, .. } | Self::StepFinished { step, parent, .. } => {
                // A parent begins before its parts, so its number comes first.
                *parent = parent.map(&mut *number);
                *step = number(*step);
            }
            Self::Log { step, .. } | Self::Warning { step, .. } => *step = step.map(number),
            Self::Progress { step, .. } => *step = number(*step),
            Self::ImageNamed { .. } | Self::BuildStarted { .. } | Self::Missed { .. } => {}
        }
        self
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let text = match self {
            Self::ImageNamed { image } => image_size(image),
            Self::BuildStarted { id, image } => id.len() + image_size(image),
            Self::StepStarted { kind, name, .. } => kind.text_size() + name.len(),
            Self::StepFinished { kind, name, error, .. } => kind.text_size() + name.len() + optional(error),
            Self::Log { line, .. } => line.len(),
            Self::Warning { message, hint, data, .. } => {
                message.len() + optional(hint) + data.as_ref().map_or(0, WarningData::heap_size)
            }
            Self::Progress { .. } | Self::Missed { .. } => 0,
        };
        size_of::<Self>() + text
    }
}

fn image_size(image: &ImageReference) -> usize {
    image.registry().len() + image.repository().len() + image.tag().map_or(0, str::len)
}

/// For a terminal or a log, one event after the other: what belongs to a step begins with its number, as steps run beside each other.
///
/// Names, lines and messages are in the words of builders, registries and RUN steps: what controls a terminal in them is
/// shown as text, and colours are left out. The fields have them as they came.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, lines) = (Printable::line, Printable::lines);
        match self {
            Self::ImageNamed { image } => write!(f, "image {image}"),
            Self::BuildStarted { id, image } => write!(f, "build {} of {image}", line(id)),
            Self::StepStarted { step, name, .. } => write!(f, "{step} => {}", line(name)),
            Self::StepFinished { step, name, error: Some(error), .. } => {
                write!(f, "{step} => {}: FAILED: {}", line(name), lines(error))
            }
            Self::StepFinished { step, name, cached: true, .. } => {
                write!(f, "{step} => {}: cached", line(name))
            }
            Self::StepFinished { step, name, .. } => write!(f, "{step} => {}: done", line(name)),
            Self::Log { step: Some(step), line: text, .. } => write!(f, "{step}    {}", line(text)),
            Self::Log { step: None, line: text, .. } => write!(f, "   {}", line(text)),
            Self::Progress { step, current, total, .. } => {
                write!(f, "{step}    {}", Count { current: *current, total: *total })
            }
            Self::Warning { message, hint, .. } => {
                write!(f, "warning: {}", lines(message))?;
                hint.iter().try_for_each(|hint| write!(f, "\n   help: {}", lines(hint)))
            }
            Self::Missed { count } => write!(f, "   ({count} lines were not shown: the reader was too slow)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Instruction;

    fn finished(cached: bool, error: Option<String>, name: &str) -> Event {
        let (step, name) = (StepId::new(1), name.to_owned());
        let (at, took) = (SystemTime::now(), Duration::from_millis(1500));
        Event::StepFinished { step, parent: None, kind: StepKind::Push, name, at, took, cached, error }
    }

    /// One of each.
    fn all() -> Vec<Event> {
        let (step, at) = (StepId::new(7), SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_123));
        let image: ImageReference = "r.example/shop/api:v-1".parse().expect("valid");
        let mut instruction = Instruction::new("RUN make");
        (instruction.number, instruction.of) = (Some(2), Some(5));
        (instruction.stage, instruction.platform) =
            (Some("build".to_owned()), Some("linux/arm64".to_owned()));
        let (name, kind) =
            ("[linux/arm64 build 2/5] RUN make".to_owned(), StepKind::Instruction(instruction));
        vec![
            Event::ImageNamed { image: image.clone() },
            Event::BuildStarted { id: "1a2b".to_owned(), image },
            Event::StepStarted {
                step,
                parent: Some(StepId::new(6)),
                kind: kind.clone(),
                name: name.clone(),
                at,
            },
            Event::log(Some(step), LogSource::Output, "ok"),
            Event::progress(step, 5, Some(10)),
            Event::Warning {
                code: WarningCode::PushUnconfirmed,
                step: Some(step),
                message: "m".to_owned(),
                hint: None,
                data: Some(WarningData::Dockerfile { line: Some(3), url: None }),
            },
            Event::StepFinished {
                step,
                parent: Some(StepId::new(6)),
                kind,
                name,
                at,
                took: Duration::from_millis(2250),
                cached: false,
                error: None,
            },
            Event::Missed { count: 3 },
        ]
    }

    #[test]
    fn json_says_what_a_program_needs_and_is_read_again() {
        let kind = json!({
            "type": "instruction", "number": 2, "of": 5, "stage": "build", "platform": "linux/arm64", "text": "RUN make",
        });
        let name = "[linux/arm64 build 2/5] RUN make";
        let at = 1_764_000_000_123_u64;
        let expected = json!([
            { "event": "imageNamed", "image": "r.example/shop/api:v-1" },
            { "event": "buildStarted", "id": "1a2b", "image": "r.example/shop/api:v-1" },
            { "event": "stepStarted", "step": 7, "parent": 6, "kind": kind, "name": name, "at": at },
            { "event": "log", "step": 7, "source": "output", "line": "ok" },
            { "event": "progress", "step": 7, "unit": "bytes", "current": 5, "total": 10 },
            {
                "event": "warning", "code": "push-unconfirmed", "step": 7, "message": "m", "hint": null,
                "data": { "type": "dockerfile", "line": 3, "url": null },
            },
            {
                "event": "stepFinished", "step": 7, "parent": 6, "kind": kind, "name": name, "at": at, "took": 2250,
                "cached": false, "error": null,
            },
            { "event": "missed", "count": 3 },
        ]);
        assert_eq!(serde_json::to_value(all()).expect("JSON"), expected);
        assert_eq!(serde_json::from_value::<Vec<Event>>(expected).expect("events"), all());
    }

    #[cfg(feature = "schema")]
    #[test]
    fn the_schema_takes_every_event_and_nothing_else() {
        let validator = jsonschema::draft7::new(&crate::event_schema()).expect("a schema");
        for event in all() {
            let event = serde_json::to_value(event).expect("JSON");
            assert!(validator.is_valid(&event), "{event}");
        }
        for other in [
            json!({}),
            json!({ "event": "missed" }),
            json!({ "event": "missed", "count": -1 }),
            json!({ "event": "warning", "code": "unheard-of", "step": null, "message": "m", "hint": null }),
        ] {
            assert!(!validator.is_valid(&other), "{other}");
        }
    }

    #[test]
    fn a_warning_of_an_earlier_version_has_no_data() {
        let earlier =
            json!({ "event": "warning", "code": "other", "step": null, "message": "m", "hint": null });
        let warning: Event = serde_json::from_value(earlier).expect("a warning");
        assert_eq!(warning, Event::warning(WarningCode::Other, "m", None));
    }

    #[test]
    fn what_a_later_version_adds_is_read_as_something_else() {
        let kind: StepKind = serde_json::from_value(json!({ "type": "sign", "key": 1 })).expect("a kind");
        assert_eq!(kind, StepKind::Other);
        let code: WarningCode = serde_json::from_value(json!("moon-is-full")).expect("a code");
        assert_eq!((code, code.to_string()), (WarningCode::Other, "other".to_owned()));
    }

    #[test]
    fn a_log_shows_to_which_step_a_line_belongs() {
        let shown: Vec<String> = all().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "image r.example/shop/api:v-1",
                "build 1a2b of r.example/shop/api:v-1",
                "#7 => [linux/arm64 build 2/5] RUN make",
                "#7    ok",
                "#7    50% (0.0 of 0.0 kB)",
                "warning: m",
                "#7 => [linux/arm64 build 2/5] RUN make: done",
                "   (3 lines were not shown: the reader was too slow)",
            ]
        );
    }

    #[test]
    fn what_controls_a_terminal_is_shown_and_kept_as_data() {
        let (step, evil) = (StepId::new(1), "\x1b]0;t\x07\u{202e}a\r\n=> forged".to_owned());
        let events = [
            Event::step_started(step, StepKind::Push, evil.clone()),
            finished(false, Some(evil.clone()), &evil),
            finished(true, None, &evil),
            finished(false, None, &evil),
            Event::log(None, LogSource::Output, evil.clone()),
            Event::log(Some(step), LogSource::Output, evil.clone()),
            Event::warning(WarningCode::Builder, evil.clone(), Some(evil.clone())),
            Event::warning(WarningCode::Builder, evil.clone(), None),
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
        let coloured = Event::log(None, LogSource::Output, "\x1b[32mok\x1b[0m");
        assert_eq!(coloured.to_string(), "   ok");
    }
}
