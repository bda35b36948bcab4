//! What a daemon reports while a build runs.

use std::time::SystemTime;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;

/// One report. A step is reported again whenever something about it changes.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Update {
    /// The state of a step.
    Step(StepState),
    /// How far a part of a step is.
    Counter(Counter),
    /// Output of a step, in pieces that end anywhere.
    Output {
        /// The step's digest.
        step: String,
        /// Whether it is from the standard error stream.
        is_error: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Something that the frontend advises against.
    Warning {
        /// In a sentence.
        message: String,
        /// Where it is explained; may be empty.
        url: String,
        /// The Dockerfile's line.
        line: Option<u32>,
    },
}

/// A step (a vertex of the build graph).
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct StepState {
    /// Identifies the step within the build.
    pub digest: String,
    /// The steps that it builds on.
    pub inputs: Vec<String>,
    /// What it does, such as `[build 2/3] RUN make`. Names that begin with `[internal]` are not of the Dockerfile.
    pub name: String,
    /// Its result came from a cache.
    pub cached: bool,
    /// When it began; the daemon's clock.
    pub started: Option<SystemTime>,
    /// When it ended. A step may begin again afterwards.
    pub completed: Option<SystemTime>,
    /// Why it failed. That alone does not make the build fail.
    pub error: Option<String>,
}

/// A counter of a step, such as the bytes of a layer that is being pulled or pushed.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Counter {
    /// The step's digest.
    pub step: String,
    /// What is counted, unique within the step.
    pub id: String,
    /// How much is done.
    pub current: u64,
    /// The total, if it is known.
    pub total: Option<u64>,
    /// When it began; the daemon's clock.
    pub started: Option<SystemTime>,
    /// When it ended.
    pub completed: Option<SystemTime>,
}

/// Splits one message of the status stream into updates.
pub(crate) fn updates(response: proto::StatusResponse) -> impl Iterator<Item = Update> {
    let steps = response.vertexes.into_iter().map(|vertex| {
        Update::Step(StepState {
            digest: vertex.digest,
            inputs: vertex.inputs,
            name: vertex.name,
            cached: vertex.cached,
            started: vertex.started.as_ref().and_then(time),
            completed: vertex.completed.as_ref().and_then(time),
            error: Some(vertex.error).filter(|error| !error.is_empty()),
        })
    });
    let counters = response.statuses.into_iter().map(|status| {
        Update::Counter(Counter {
            step: status.vertex,
            id: status.id,
            current: u64::try_from(status.current).unwrap_or(0),
            total: u64::try_from(status.total).ok().filter(|total| *total > 0),
            started: status.started.as_ref().and_then(time),
            completed: status.completed.as_ref().and_then(time),
        })
    });
    let output = response.logs.into_iter().map(|log| Update::Output {
        step: log.vertex,
        is_error: log.stream == STANDARD_ERROR,
        bytes: log.msg,
    });
    let warnings = response.warnings.into_iter().map(|warning| Update::Warning {
        message: String::from_utf8_lossy(&warning.short).into_owned(),
        line: warning
            .ranges
            .first()
            .and_then(|range| u32::try_from(range.start.as_ref()?.line).ok())
            .filter(|line| *line > 0),
        url: warning.url,
    });
    steps.chain(counters).chain(output).chain(warnings)
}

/// Source: `BuildKit`, `util/progress/logs/logs.go`.
const STANDARD_ERROR: i64 = 2;

fn time(timestamp: &Timestamp) -> Option<SystemTime> {
    let seconds = std::time::Duration::from_secs(u64::try_from(timestamp.seconds).ok()?);
    let nanoseconds = std::time::Duration::from_nanos(u64::try_from(timestamp.nanos).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds + nanoseconds)
}
