//! From the daemon's reports to the events of a build.

mod followed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod sent;
mod step_name;
mod trouble;

use std::collections::{HashMap, VecDeque};

use garden_build_core::{EventSink, WarningCode, WarningData};

use self::followed::Followed;
use self::sent::Sent;
use self::step_name::{instruction, is_from, is_instruction};
use self::trouble::{Trouble, trouble};
use crate::client::file_sync::Journal;
use crate::client::{StepState, Update};

/// How much is kept of a daemon's reports on the steps of a build and their counters, in bytes. It says how many there are; of those that come
/// later, nothing is reported. A Dockerfile of a thousand instructions takes less than a hundredth.
const MOST_FOLLOWED: usize = 32 << 20;

/// What a step or a counter takes besides its texts, in bytes.
const OVERHEAD: usize = 512;

/// For how many steps the last lines are kept, to explain a failure.
const MOST_PRINTING: usize = 64;

/// How many warnings are passed on.
const MOST_WARNINGS: usize = 1000;

/// What is known of a build under way.
#[derive(Debug)]
pub(crate) struct Progress {
    events: EventSink,
    journal: Journal,
    steps: HashMap<String, Followed>,
    /// The steps that have printed something lately, of which lines are kept.
    printing: VecDeque<String>,
    /// About how many bytes all that is followed takes, except for lines.
    size: usize,
    warnings: usize,
}

impl Progress {
    /// Reports to `events`. What is sent of the context is noted in `journal`.
    pub(crate) fn new(events: EventSink, journal: Journal) -> Self {
        Self { events, journal, steps: HashMap::new(), printing: VecDeque::new(), size: 0, warnings: 0 }
    }

    /// Takes a report.
    pub(crate) fn update(&mut self, update: Update) {
        match update {
            Update::Step(state) => self.step(state),
            Update::Counter(counter) => {
                let is_full = self.size > MOST_FOLLOWED;
                if let Some(followed) = self.steps.get_mut(&counter.step)
                    && (!is_full || followed.counts(&counter.id))
                {
                    self.size += if followed.counts(&counter.id) { 0 } else { OVERHEAD + counter.id.len() };
                    // The daemon counts what it has received, and does not know how much is to come.
                    match &followed.directory {
                        Some(directory) => {
                            let sent = Sent::of(&self.journal, directory);
                            followed.progress(sent.bytes(), sent.requested());
                        }
                        None => followed.count(counter),
                    }
                }
            }
            Update::Output { step, is_error, bytes } => {
                if let Some(followed) = self.steps.get_mut(&step) {
                    followed.output(usize::from(is_error), &bytes);
                    self.keep_lines_of(step);
                }
            }
            Update::Warning { message, url, line } => {
                self.warnings += 1;
                if self.warnings > MOST_WARNINGS {
                    return;
                }
                let url = Some(url).filter(|url| !url.is_empty());
                let hint = url.as_ref().map(|url| format!("see {url}"));
                let data = (line.is_some() || url.is_some()).then_some(WarningData::Dockerfile { line, url });
                self.events.warn_with(WarningCode::Builder, placed(&message, line), hint, data);
            }
        }
    }

    /// Returns how many steps of the Dockerfile came from a cache, and how many were run.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let ended = || self.steps.values().filter(|step| step.ended && is_instruction(&step.name));
        let cached = ended().filter(|step| step.cached).count();
        (cached, ended().count() - cached)
    }

    /// Returns the name of a step, without its place in the build.
    pub(crate) fn instruction(&self, digest: &str) -> Option<&str> {
        self.steps.get(digest).map(|followed| instruction(&followed.name))
    }

    /// Returns the last lines that a step printed.
    pub(crate) fn tail(&self, digest: &str) -> Vec<String> {
        self.steps.get(digest).map(Followed::tail).unwrap_or_default()
    }

    /// Ends the steps of which no more is to come, now that the build has ended.
    pub(crate) fn finish(&mut self) {
        for followed in self.steps.values_mut() {
            conclude(followed, &self.events, &self.journal);
        }
    }

    /// Keeps the last lines of `step`, and no more those of the step that has printed nothing for longest.
    fn keep_lines_of(&mut self, step: String) {
        if self.printing.back() == Some(&step) {
            return;
        }
        self.printing.retain(|other| *other != step);
        self.printing.push_back(step);
        if self.printing.len() > MOST_PRINTING
            && let Some(oldest) = self.printing.pop_front()
            && let Some(followed) = self.steps.get_mut(&oldest)
        {
            followed.forget_lines();
        }
    }

    fn step(&mut self, state: StepState) {
        if !self.steps.contains_key(&state.digest) {
            if self.size > MOST_FOLLOWED {
                return;
            }
            self.size += OVERHEAD + 2 * state.digest.len() + 2 * state.name.len();
        }
        if state.started.is_some() {
            for input in &state.inputs {
                if let Some(input) = self.steps.get_mut(input) {
                    conclude(input, &self.events, &self.journal);
                }
            }
        }
        let followed = self.steps.entry(state.digest).or_insert_with(|| Followed::new(state.name));
        // What comes from a cache may be reported again when it is fetched, and then as not cached.
        if followed.ended || (state.started.is_none() && !state.cached) {
            return;
        }
        followed.cached = state.cached;
        let over = state.completed.is_some() || state.cached || state.error.is_some();
        let at_once = followed.step.is_none();
        let is_unsent = |directory: &String| !Sent::of(&self.journal, directory).is_complete();
        let is_looked_up = is_from(&followed.name) || followed.directory.as_ref().is_some_and(is_unsent);
        if over && state.error.is_none() && !state.cached && (at_once || is_looked_up) {
            // A source is looked up first, and fetched only if that is not enough. FROM is even
            // begun several times; it is over when what builds on it begins. Whether the look-up is
            // reported at once or in two parts is a matter of time.
            followed.rests = true;
            return;
        }
        followed.begin(&self.events);
        if over {
            match state.error.map(|error| trouble(&followed.name, error)) {
                None => end_well(followed, &self.journal),
                Some(Trouble::Failure(error)) => followed.end(Some(error)),
                Some(Trouble::NoCacheYet) => {
                    followed.say("there is none yet".to_owned());
                    followed.end(None);
                }
                Some(Trouble::Cache { warning, hint, error }) => {
                    followed.warn(WarningCode::CacheUnusable, warning, hint);
                    followed.end(Some(error));
                }
            }
        }
    }
}

/// Ends a step that rests, as no more of it is to come.
fn conclude(followed: &mut Followed, events: &EventSink, journal: &Journal) {
    if followed.rests && !followed.ended {
        followed.begin(events);
        end_well(followed, journal);
    }
}

fn end_well(followed: &mut Followed, journal: &Journal) {
    if let Some(directory) = &followed.directory {
        let sent = Sent::of(journal, directory);
        if sent.bytes() > 0 {
            followed.progress(sent.bytes(), Some(sent.bytes()));
        }
        followed.say(sent.to_string());
    }
    followed.end(None);
}

/// Describes which line of the Dockerfile a warning is about, once: the frontend's checks end with ` (line 3)`, other
/// warnings do not.
fn placed(message: &str, line: Option<u32>) -> String {
    let Some(line) = line else { return message.to_owned() };
    let message = message.strip_suffix(&format!(" (line {line})")).unwrap_or(message);
    format!("line {line} of the Dockerfile: {message}")
}

#[cfg(test)]
mod tests;
