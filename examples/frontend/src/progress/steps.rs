//! What is known of steps so far.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use garden_build::{Event, StepId};

use super::text::{labelled, plain_line};

/// How many lines of a step's output are shown while it runs.
const TAIL: usize = 6;

/// All steps of what is shown together, in the order in which they began.
#[derive(Debug)]
pub(crate) struct Steps {
    /// What the steps of each begin with, if there are several.
    labels: Vec<Option<String>>,
    all: Vec<Step>,
    places: HashMap<(usize, StepId), usize>,
    /// What a builder has said last that belongs to no step.
    remark: Option<String>,
    is_cancelled: bool,
}

/// A step. Its texts can be shown as they are.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// The place of the step that this one is a part of.
    pub(crate) parent: Option<usize>,
    pub(crate) began: SystemTime,
    pub(crate) state: State,
    /// How many bytes are done, of how many.
    pub(crate) progress: Option<(u64, Option<u64>)>,
    /// The last lines of its output.
    pub(crate) tail: VecDeque<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Done(Duration),
    Cached(Duration),
    Failed(Duration, String),
    /// It ended without success after all was cancelled.
    Cancelled(Duration),
}

impl Steps {
    pub(crate) fn new(labels: Vec<Option<String>>) -> Self {
        Self { labels, all: Vec::new(), places: HashMap::new(), remark: None, is_cancelled: false }
    }

    /// What ends without success from now on was cancelled.
    pub(crate) fn cancelled(&mut self) {
        self.is_cancelled = true;
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled
    }

    pub(crate) fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    pub(crate) fn all(&self) -> &[Step] {
        &self.all
    }

    /// Takes an event of the one with this number.
    pub(crate) fn take(&mut self, number: usize, event: &Event) {
        match event {
            Event::StepStarted { step, parent, name, at, .. } => {
                self.begin(number, *step, *parent, name, *at);
            }
            Event::StepFinished { step, parent, name, at, took, cached, error, .. } => {
                if !self.places.contains_key(&(number, *step)) {
                    // Its beginning was missed.
                    self.begin(number, *step, *parent, name, *at);
                }
                let state = match error {
                    Some(_) if self.is_cancelled => State::Cancelled(*took),
                    Some(error) => State::Failed(*took, plain_line(error.lines().next().unwrap_or_default())),
                    None if *cached => State::Cached(*took),
                    None => State::Done(*took),
                };
                if let Some(known) = self.step(number, *step) {
                    known.state = state;
                    known.tail = VecDeque::new();
                }
            }
            Event::Progress { step, current, total, .. } => {
                if let Some(known) = self.step(number, *step) {
                    known.progress = Some((*current, *total));
                }
            }
            Event::Log { step: Some(step), line, .. } => {
                if let Some(known) = self.step(number, *step) {
                    if known.tail.len() == TAIL {
                        known.tail.pop_front();
                    }
                    known.tail.push_back(plain_line(line));
                }
            }
            Event::Log { step: None, line, .. } => self.remark = Some(plain_line(line)),
            _ => {}
        }
    }

    fn begin(&mut self, number: usize, id: StepId, parent: Option<StepId>, name: &str, began: SystemTime) {
        let parent = parent.and_then(|parent| self.places.get(&(number, parent)).copied());
        let label = self.labels.get(number).and_then(Option::as_deref).filter(|_| parent.is_none());
        let name = labelled(label, &plain_line(name));
        self.places.insert((number, id), self.all.len());
        let (progress, tail) = (None, VecDeque::new());
        self.all.push(Step { name, parent, began, state: State::Running, progress, tail });
    }

    fn step(&mut self, number: usize, id: StepId) -> Option<&mut Step> {
        let place = self.places.get(&(number, id))?;
        self.all.get_mut(*place)
    }
}
