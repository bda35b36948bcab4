//! A step under way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::{Span, field};

use crate::event::{Event, LogSource, ProgressUnit, StepId};
use crate::printable::Printable;
use crate::progress_meter::{Count, ProgressMeter};
use crate::{EventSink, Result, StepKind};

/// A step under way. Dropped without having been finished, it reports that it was interrupted, so
/// that no consumer waits for the end of a step that nobody will report.
#[derive(Debug)]
pub struct Step {
    sink: EventSink,
    id: StepId,
    parent: Option<StepId>,
    kind: StepKind,
    name: String,
    began: Instant,
    meter: Mutex<ProgressMeter>,
    finished: bool,
    span: Span,
}

impl Step {
    /// Begins a step, and reports it to `sink`.
    pub(crate) fn begin(sink: &EventSink, id: StepId, kind: StepKind, name: String) -> Self {
        let (parent, at, began) = (sink.step_here(), SystemTime::now(), Instant::now());
        // Names may be foreign text, and what shows spans need not make it harmless.
        let span = tracing::info_span!(
            target: "garden_build",
            parent: sink.span(),
            "step",
            kind = kind.name(),
            name = %Printable::line(&name),
            cached = field::Empty,
            error = field::Empty,
        );
        sink.emit(Event::StepStarted { step: id, parent, kind: kind.clone(), name: name.clone(), at });
        let sink = sink.within(id, span.clone());
        Self { sink, id, parent, kind, name, began, meter: Mutex::default(), finished: false, span }
    }

    /// Returns the sink for what is done within this step.
    pub fn events(&self) -> &EventSink {
        &self.sink
    }

    /// Reports a line of output of this step.
    pub fn log(&self, source: LogSource, line: impl Into<String>) {
        self.sink.log_from(source, line);
    }

    /// Reports how many bytes are done, of how many. It may be said as often as one likes: reported is what differs enough from what was
    /// reported before, and the last when the step ends.
    pub fn progress(&self, current: u64, total: Option<u64>) {
        let count = self.meter().take(Count { current, total });
        self.report(count);
    }

    fn meter(&self) -> MutexGuard<'_, ProgressMeter> {
        // Every method leaves it consistent.
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, count: Option<Count>) {
        if let Some(Count { current, total }) = count {
            self.sink.emit(Event::Progress { step: self.id, unit: ProgressUnit::Bytes, current, total });
        }
    }

    /// Reports that the step succeeded.
    pub fn done(self) {
        self.finish(false, None);
    }

    /// Reports that the step's result came from a cache.
    pub fn cached(self) {
        self.finish(true, None);
    }

    /// Reports that the step failed.
    pub fn failed(self, error: impl Into<String>) {
        self.finish(false, Some(error.into()));
    }

    /// Reports that the step ended as `outcome` says, and passes it on.
    ///
    /// # Errors
    /// The `outcome`'s own.
    pub fn end<T>(self, outcome: Result<T>) -> Result<T> {
        match &outcome {
            Ok(_) => self.done(),
            Err(error) => self.failed(error.message()),
        }
        outcome
    }

    fn finish(mut self, cached: bool, error: Option<String>) {
        self.report_end(cached, error);
    }

    fn report_end(&mut self, cached: bool, error: Option<String>) {
        self.finished = true;
        let last = self.meter().end();
        self.report(last);
        self.span.record("cached", cached);
        if let Some(error) = &error {
            self.span.record("error", field::display(Printable::lines(error)));
        }
        let (kind, name) = (self.kind.clone(), self.name.clone());
        let (at, took) = (SystemTime::now(), self.began.elapsed());
        let (step, parent) = (self.id, self.parent);
        self.sink.emit(Event::StepFinished { step, parent, kind, name, at, took, cached, error });
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            self.report_end(false, Some("interrupted".to_owned()));
        }
    }
}
