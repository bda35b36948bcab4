//! From the daemon's reports to the events of a build.

mod followed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod step_name;
mod trouble;

use std::collections::{HashMap, VecDeque};

use garden_build_core::{EventSink, WarningCode};

use self::followed::Followed;
use self::step_name::{LOAD_CONTEXT, instruction, is_from, is_instruction};
use self::trouble::{Trouble, trouble};
use crate::client::file_sync::{Journal, SyncState};
use crate::client::{CONTEXT, StepState, Update};

/// How much is kept of a daemon's reports on the steps of a build and their counters, in bytes. It says how many there are; of those that come
/// later, nothing is told. A Dockerfile of a thousand instructions takes less than a hundredth.
const MOST_FOLLOWED: usize = 32 << 20;

/// What a step or a counter takes besides its texts, in bytes.
const OVERHEAD: usize = 512;

/// Of how many steps the last lines are kept, to explain a failure.
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
                    if followed.name == LOAD_CONTEXT {
                        // The daemon counts what it gets, and does not know how much is to come.
                        let (bytes, requested) = sent_bytes(&self.journal);
                        followed.progress(bytes, requested);
                    } else {
                        followed.count(counter);
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
                let hint = Some(url).filter(|url| !url.is_empty()).map(|url| format!("see {url}"));
                self.events.warn(WarningCode::Builder, placed(&message, line), hint);
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
        let is_looked_up =
            is_from(&followed.name) || (followed.name == LOAD_CONTEXT && !is_synced(&self.journal));
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
    if followed.name == LOAD_CONTEXT {
        let (bytes, _) = sent_bytes(journal);
        if bytes > 0 {
            followed.progress(bytes, Some(bytes));
        }
        followed.say(sent(journal));
    }
    followed.end(None);
}

/// Says which line of the Dockerfile a warning is about, once: the frontend's checks end with ` (line 3)`, other
/// warnings do not.
fn placed(message: &str, line: Option<u32>) -> String {
    let Some(line) = line else { return message.to_owned() };
    let message = message.strip_suffix(&format!(" (line {line})")).unwrap_or(message);
    format!("line {line} of the Dockerfile: {message}")
}

/// Whether the daemon has all that it wanted of the context.
fn is_synced(journal: &Journal) -> bool {
    let syncs = journal.syncs();
    let mut of_context = syncs.iter().filter(|sync| sync.directory() == CONTEXT).peekable();
    of_context.peek().is_some() && of_context.all(|sync| sync.state() == SyncState::Finished)
}

/// Returns how many bytes of the context were sent, and how many the daemon has asked for, which it does once it knows the whole list.
fn sent_bytes(journal: &Journal) -> (u64, Option<u64>) {
    let syncs = journal.syncs();
    let of_context = || syncs.iter().filter(|sync| sync.directory() == CONTEXT);
    let sum = |all: &mut dyn Iterator<Item = u64>| all.fold(0_u64, u64::saturating_add);
    let is_listed = of_context().all(|sync| sync.is_listed());
    let requested = is_listed.then(|| sum(&mut of_context().map(|sync| sync.requested_bytes())));
    (sum(&mut of_context().map(|sync| sync.bytes())), requested)
}

/// Says how much of the context the daemon did not have.
fn sent(journal: &Journal) -> String {
    let syncs = journal.syncs();
    let of_context = || syncs.iter().filter(|sync| sync.directory() == CONTEXT);
    let [entries, files, bytes] = [
        of_context().map(|sync| sync.entries()).sum::<u64>(),
        of_context().map(|sync| sync.files()).sum(),
        of_context().map(|sync| sync.bytes()).sum(),
    ];
    format!("sent {files} files ({bytes} bytes) of a list of {entries} entries")
}

#[cfg(test)]
mod tests;
