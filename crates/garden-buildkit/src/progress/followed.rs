//! One step of a build, as the daemon reports it.

use std::collections::{BTreeMap, VecDeque};

use garden_build_core::words::beginning;
use garden_build_core::{EventSink, LogSource, Step, WarningCode};

use super::step_name::{kind, sent_directory};
use crate::client::Counter;

/// Lines of a step's output that are kept to explain its failure.
pub(super) const TAIL: usize = 50;

/// A line that is longer is cut in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// So much is kept of a line to explain a failure, in bytes.
const LONGEST_TAIL_LINE: usize = 4 << 10;

/// A step that the daemon has reported.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) name: String,
    /// The directory of the session that is sent in it, if it is such a step.
    pub(super) directory: Option<String>,
    /// While it is under way.
    pub(super) step: Option<Step>,
    pub(super) cached: bool,
    /// It may be over, or begin once more.
    pub(super) rests: bool,
    pub(super) ended: bool,
    lines: [Vec<u8>; 2],
    tail: VecDeque<String>,
    counters: BTreeMap<String, (u64, Option<u64>)>,
}

impl Followed {
    pub(super) fn new(name: String) -> Self {
        Self {
            directory: sent_directory(&name),
            name,
            step: None,
            cached: false,
            rests: false,
            ended: false,
            lines: [Vec::new(), Vec::new()],
            tail: VecDeque::new(),
            counters: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, events: &EventSink) {
        self.rests = false;
        if self.step.is_none() {
            self.step = Some(events.step(kind(&self.name), self.name.clone()));
        }
    }

    pub(super) fn say(&self, line: String) {
        if let Some(step) = &self.step {
            step.log(LogSource::Builder, line);
        }
    }

    pub(super) fn warn(&self, code: WarningCode, message: String, hint: &str) {
        if let Some(step) = &self.step {
            step.events().warn(code, message, Some(hint.to_owned()));
        }
    }

    pub(super) fn progress(&self, bytes: u64, total: Option<u64>) {
        if let Some(step) = &self.step {
            step.progress(bytes, total);
        }
    }

    pub(super) fn output(&mut self, stream: usize, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.lines[stream].extend_from_slice(&bytes[..end]);
            self.line(stream);
            bytes = &bytes[end + 1..];
        }
        self.lines[stream].extend_from_slice(bytes);
        if self.lines[stream].len() >= LONGEST_LINE {
            self.line(stream);
        }
    }

    /// Adds up the counters of the step, of which a base image has one for each layer.
    pub(super) fn count(&mut self, counter: Counter) {
        let Some(step) = &self.step else { return };
        if counter.current == 0 && counter.total.is_none() {
            // Not a quantity, but a part of the step, such as `exporting manifest sha256:…`.
            if counter.completed.is_none() && !self.counters.contains_key(&counter.id) {
                step.log(LogSource::Builder, counter.id.clone());
            }
            self.counters.entry(counter.id).or_default();
            return;
        }
        self.counters.insert(counter.id, (counter.current, counter.total));
        // The daemon counts, and may count as far as it likes.
        let current = self.counters.values().fold(0_u64, |sum, (current, _)| sum.saturating_add(*current));
        let mut totals = self.counters.values().filter(|counter| **counter != (0, None));
        let total = totals.try_fold(0_u64, |sum, (_, total)| Some(sum.saturating_add((*total)?)));
        step.progress(current, total);
    }

    /// Returns the last lines that the step printed.
    pub(super) fn tail(&self) -> Vec<String> {
        let unfinished = self.lines.iter().filter(|line| !line.is_empty());
        let unfinished = unfinished.map(|line| String::from_utf8_lossy(line).into_owned());
        self.tail.iter().cloned().chain(unfinished).collect()
    }

    fn line(&mut self, stream: usize) {
        let bytes = std::mem::take(&mut self.lines[stream]);
        let line = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(&bytes)).into_owned();
        if let Some(step) = &self.step {
            step.log(LogSource::Output, line.clone());
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(shortened(line));
    }

    /// Keeps nothing of what the step has printed.
    pub(super) fn forget_lines(&mut self) {
        self.tail = VecDeque::new();
        self.lines = [Vec::new(), Vec::new()];
    }

    /// Whether the step has a counter of this name.
    pub(super) fn counts(&self, id: &str) -> bool {
        self.counters.contains_key(id)
    }

    pub(super) fn end(&mut self, error: Option<String>) {
        for stream in [0, 1] {
            if !self.lines[stream].is_empty() {
                self.line(stream);
            }
        }
        self.ended = true;
        self.rests = false;
        match (self.step.take(), error) {
            (Some(step), Some(error)) => step.failed(error),
            (Some(step), None) if self.cached => step.cached(),
            (Some(step), None) => step.done(),
            (None, _) => {}
        }
    }
}

fn shortened(mut line: String) -> String {
    if line.len() > LONGEST_TAIL_LINE {
        line.truncate(beginning(&line, LONGEST_TAIL_LINE).len());
        line.push('…');
        line.shrink_to_fit();
    }
    line
}
