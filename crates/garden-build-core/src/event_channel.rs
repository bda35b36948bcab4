//! How events get from a build to its readers, without one waiting for the other.
//!
//! Why: docs/decisions/26-others-have-bounds.md

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tracing::Span;

use crate::event::{Event, LogSource, StepId};
use crate::event_queue::{History, Queue};
use crate::phases::Phases;
use crate::{BuildJob, ImageReference, Step, StepKind, WarningCode, WarningData};

/// Creates a pair through which a build reports to its caller.
///
/// The sink never waits: when the caller is slow, the oldest log lines and counters make room and
/// an event tells the caller how many it missed.
pub fn event_channel() -> (EventSink, EventStream) {
    let shared = Arc::new(Shared::default());
    let source = EventSource(Arc::clone(&shared));
    (EventSink { sender: Arc::new(Sender(shared)), step: None, span: Span::current() }, source.stream())
}

#[derive(Default, Debug)]
struct Shared {
    readers: Mutex<Readers>,
    last_step: AtomicU64,
    phases: Mutex<Phases>,
}

#[derive(Default, Debug)]
struct Readers {
    queues: BTreeMap<u64, Queue>,
    next: u64,
    history: History,
    /// No sink is left.
    closed: bool,
}

impl Readers {
    /// Wakes everyone who waits.
    fn wake(&mut self) {
        self.queues.values_mut().filter_map(|queue| queue.waker.take()).for_each(std::task::Waker::wake);
    }
}

impl Shared {
    fn readers(&self) -> MutexGuard<'_, Readers> {
        // Every method leaves the queues consistent, so a panic elsewhere does not spoil them.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phases(&self) -> MutexGuard<'_, Phases> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the streams when the last sink is gone.
#[derive(Debug)]
struct Sender(Arc<Shared>);

impl Drop for Sender {
    fn drop(&mut self) {
        let mut readers = self.0.readers();
        readers.closed = true;
        readers.wake();
    }
}

/// Where a build reports what happens. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct EventSink {
    sender: Arc<Sender>,
    /// The step that what is reported here belongs to.
    step: Option<StepId>,
    /// That of the step, or of whoever made the channel.
    span: Span,
}

impl EventSink {
    /// Reports `event`.
    pub fn emit(&self, event: Event) {
        let shared = &self.sender.0;
        if Phases::concerns(&event) {
            shared.phases().note(&event);
        }
        let mut readers = shared.readers();
        readers.history.keep(&event);
        // Lines of output are many and mostly have one reader, which gets them without a copy.
        let mut queues = readers.queues.values_mut();
        let last = queues.next_back();
        queues.for_each(|queue| queue.push(event.clone()));
        if let Some(last) = last {
            last.push(event);
        }
        readers.wake();
    }

    /// Returns where further streams of the same events come from.
    pub fn source(&self) -> EventSource {
        EventSource(Arc::clone(&self.sender.0))
    }

    /// Describes what is under way and what it waits for, and how long the longest steps before took; `None` if nothing is known.
    pub(crate) fn account(&self) -> Option<String> {
        self.sender.0.phases().account()
    }

    /// Reports the name that the image gets.
    pub fn image_named(&self, image: &ImageReference) {
        self.emit(Event::ImageNamed { image: image.clone() });
    }

    /// Reports that `job` is built.
    pub fn build_started(&self, job: &BuildJob) {
        self.emit(Event::BuildStarted { id: job.id.clone(), image: job.destination.clone() });
    }

    /// Reports that a step began; the returned [`Step`] reports the rest of its life. In the sink of a step (see [`Step::events`]), it
    /// is a part of that step.
    pub fn step(&self, kind: impl Into<StepKind>, name: impl Into<String>) -> Step {
        Step::begin(self, self.next_step(), kind.into(), name.into())
    }

    /// Returns the sink for what is done within `step`, whose span is `span`.
    pub(crate) fn within(&self, step: StepId, span: Span) -> Self {
        Self { sender: Arc::clone(&self.sender), step: Some(step), span }
    }

    /// Returns the step that what is reported here belongs to.
    pub(crate) fn step_here(&self) -> Option<StepId> {
        self.step
    }

    /// Returns the span of what is reported here.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    fn next_step(&self) -> StepId {
        // From 1 on, as people read them.
        StepId::new(self.sender.0.last_step.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Returns what passes on the events of another channel here. Its steps get numbers of their own.
    pub fn relay(&self) -> EventRelay {
        EventRelay { sink: self.clone(), steps: BTreeMap::new() }
    }

    /// Reports a line of the builder's: what is waited for, or done. In the sink of a step, it belongs to that step.
    pub fn log(&self, line: impl Into<String>) {
        self.log_from(LogSource::Builder, line);
    }

    /// Reports a line of output that `source` wrote. In the sink of a step, it belongs to that step.
    pub fn log_from(&self, source: LogSource, line: impl Into<String>) {
        self.emit(Event::Log { step: self.step, source, line: line.into() });
    }

    /// Reports a warning, and what to do about it. In the sink of a step, it belongs to that step.
    pub fn warn(&self, code: WarningCode, message: impl Into<String>, hint: Option<String>) {
        self.warn_with(code, message, hint, None);
    }

    /// Reports a warning, what to do about it, and for programs what it is about in detail. In the sink of a step, it belongs to that step.
    pub fn warn_with(
        &self,
        code: WarningCode,
        message: impl Into<String>,
        hint: Option<String>,
        data: impl Into<Option<WarningData>>,
    ) {
        let (message, data) = (message.into(), data.into());
        self.emit(Event::Warning { code, step: self.step, message, hint, data });
    }
}

/// Passes on the events of another channel as its own; see [`EventSink::relay`].
#[derive(Debug)]
pub struct EventRelay {
    sink: EventSink,
    /// The steps of the other channel, and what they are here.
    steps: BTreeMap<StepId, StepId>,
}

impl EventRelay {
    /// Passes on `event`.
    pub fn pass_on(&mut self, event: Event) {
        let Self { sink, steps } = self;
        let mut here = |step| *steps.entry(step).or_insert_with(|| sink.next_step());
        let event = event.with_steps(&mut here);
        sink.emit(event);
    }
}

/// Where streams of one build's events come from. Does not keep the streams from ending.
#[derive(Clone, Debug)]
pub struct EventSource(Arc<Shared>);

impl EventSource {
    /// Returns a stream that begins with the steps and warnings so far (the last 2000, and at most 1 MiB of them), without the lines and counters
    /// between them. What comes from now on comes whole.
    pub fn stream(&self) -> EventStream {
        let mut readers = self.0.readers();
        let number = readers.next;
        readers.next += 1;
        let queue = readers.history.replay();
        readers.queues.insert(number, queue);
        drop(readers);
        EventStream { shared: Arc::clone(&self.0), number }
    }
}

/// What a build reports, in order. Also a [`futures::Stream`].
#[derive(Debug)]
pub struct EventStream {
    shared: Arc<Shared>,
    number: u64,
}

impl EventStream {
    /// Waits for the next event; `None` when the build has ended and everything was read.
    ///
    /// Cancel safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut readers = self.shared.readers();
        let closed = readers.closed;
        let queue = readers.queues.entry(self.number).or_default();
        match queue.pop() {
            None if !closed => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            event => Poll::Ready(event),
        }
    }
}

impl futures::Stream for EventStream {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(cx)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.shared.readers().queues.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event_queue::{CAPACITY, LARGEST, LARGEST_KEPT, MOST, MOST_KEPT};

    fn line(number: usize) -> Event {
        Event::log(None, LogSource::Output, number.to_string())
    }

    async fn drain(mut stream: EventStream) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event);
        }
        events
    }

    #[tokio::test]
    async fn delivers_in_order_and_ends_when_the_last_sink_is_gone() {
        let (sink, stream) = event_channel();
        sink.clone().step(StepKind::Other, "scan").done();
        sink.emit(line(1));
        drop(sink);
        let shown: Vec<String> = drain(stream).await.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["#1 => scan", "#1 => scan: done", "   1"]);
    }

    #[tokio::test]
    async fn a_slow_consumer_loses_the_oldest_lines_but_no_step_and_is_told() {
        let (sink, stream) = event_channel();
        let step = sink.step(StepKind::Other, "build");
        for number in 0..CAPACITY + 10 {
            sink.emit(line(number));
        }
        step.done();
        drop(sink);
        let events = drain(stream).await;
        assert_eq!(events[0], Event::Missed { count: 10 });
        assert!(matches!(events[1], Event::StepStarted { .. }));
        assert_eq!(events[2], line(10));
        assert!(matches!(events.last(), Some(Event::StepFinished { error: None, .. })));
        assert_eq!(events.len(), CAPACITY + 3);
    }

    #[tokio::test]
    async fn whatever_is_made_up_what_waits_is_bounded() {
        let (sink, stream) = event_channel();
        for number in 0..3 * MOST {
            sink.step(StepKind::Other, format!("made up {number}")).done();
        }
        sink.warn(WarningCode::Other, "the last", None);
        drop(sink);
        let events = drain(stream).await;
        assert_eq!(events.len(), MOST + 1);
        assert!(matches!(events[0], Event::Missed { count } if count > 0), "{:?}", events[0]);
        assert!(matches!(events.last(), Some(Event::Warning { .. })), "the oldest go");

        let (sink, stream) = event_channel();
        let large = "x".repeat(LARGEST / 10);
        for _ in 0..100 {
            sink.log(large.clone());
            sink.warn(WarningCode::Other, large.clone(), None);
        }
        sink.warn(WarningCode::Other, "x".repeat(2 * LARGEST), None);
        drop(sink);
        let events = drain(stream).await;
        assert_eq!(events.len(), 2, "one that is larger than all may be waits alone");
    }

    #[tokio::test]
    async fn a_line_belongs_to_the_step_whose_sink_reports_it() {
        let (sink, stream) = event_channel();
        let step = sink.step(StepKind::Other, "find the daemon");
        step.events().log("within");
        sink.log("outside");
        step.done();
        drop(sink);
        let steps: Vec<_> = drain(stream)
            .await
            .into_iter()
            .filter_map(|event| match event {
                Event::Log { step, line, .. } => Some((step.is_some(), line)),
                _ => None,
            })
            .collect();
        assert_eq!(steps, [(true, "within".to_owned()), (false, "outside".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_step_s_sink_reports_is_a_part_of_it_and_steps_say_how_long_they_took() {
        let (sink, stream) = event_channel();
        let outer = sink.step(StepKind::Prepare, "prepare");
        let inner = outer.events().step(StepKind::Wait, "wait");
        inner.events().warn(WarningCode::LogIncomplete, "careful", None);
        tokio::time::advance(Duration::from_millis(1500)).await;
        inner.done();
        outer.done();
        drop(sink);
        let events = drain(stream).await;
        let (first, second) = (StepId::new(1), StepId::new(2));
        let parents: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::StepStarted { step, parent, .. } | Event::StepFinished { step, parent, .. } => {
                    Some((*step, *parent))
                }
                _ => None,
            })
            .collect();
        assert_eq!(parents, [(first, None), (second, Some(first)), (second, Some(first)), (first, None)]);
        assert!(matches!(events[2], Event::Warning { step, .. } if step == Some(second)), "{events:?}");
        let ended = |event: &Event| matches!(event, Event::StepFinished { kind: StepKind::Wait, took, .. } if *took == Duration::from_millis(1500));
        assert!(ended(&events[3]), "{events:?}");
    }

    #[tokio::test]
    async fn progress_is_reported_in_percents_and_to_its_end() {
        let (sink, stream) = event_channel();
        let step = sink.step(StepKind::Upload, "send");
        for bytes in 0..=50_001 {
            step.progress(bytes, Some(100_000));
        }
        step.done();
        drop(sink);
        let events = drain(stream).await;
        assert_eq!(events.len(), 1 + 51 + 1 + 1);
        assert_eq!(events[52], Event::progress(StepId::new(1), 50_001, Some(100_000)));
    }

    #[tokio::test]
    async fn an_abandoned_step_is_reported_as_interrupted() {
        let (sink, stream) = event_channel();
        drop(sink.step(StepKind::Other, "upload"));
        drop(sink);
        let last = drain(stream).await.pop();
        assert!(
            matches!(last, Some(Event::StepFinished { error: Some(error), .. }) if error == "interrupted")
        );
    }

    #[tokio::test]
    async fn a_waiting_consumer_is_woken() {
        let (sink, mut stream) = event_channel();
        let waiting = tokio::spawn(async move { stream.next().await });
        tokio::task::yield_now().await;
        sink.emit(line(7));
        assert_eq!(waiting.await.expect("no panic"), Some(line(7)));
    }

    #[tokio::test]
    async fn who_comes_later_gets_the_steps_so_far_and_everything_from_then_on() {
        let (sink, first) = event_channel();
        let step = sink.step(StepKind::Other, "build");
        step.log(LogSource::Output, "before");
        step.progress(1, None);
        sink.warn(WarningCode::Other, "careful", None);
        let second = sink.source().stream();
        step.log(LogSource::Output, "after");
        step.done();
        let source = sink.source();
        drop(sink);
        let shown = |events: Vec<Event>| events.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            shown(drain(second).await),
            ["#1 => build", "warning: careful", "#1    after", "#1 => build: done"]
        );
        assert_eq!(
            shown(drain(source.stream()).await),
            ["#1 => build", "warning: careful", "#1 => build: done"]
        );
        assert_eq!(drain(first).await.len(), 6);
    }

    #[tokio::test]
    async fn what_is_kept_for_later_is_bounded() {
        let (sink, stream) = event_channel();
        drop(stream);
        for number in 0..MOST_KEPT {
            sink.step(StepKind::Other, format!("made up {number}")).done();
        }
        let events = |stream| async { drain(stream).await.len() };
        let source = sink.source();
        let later = source.stream();
        sink.warn(WarningCode::Other, "x".repeat(LARGEST_KEPT), None);
        let latest = source.stream();
        drop(sink);
        assert_eq!(events(later).await, 1 + MOST_KEPT + 1);
        assert_eq!(drain(latest).await, [Event::Missed { count: 2 * MOST_KEPT as u64 + 1 }]);
    }

    #[tokio::test]
    async fn events_that_are_passed_on_belong_to_steps_of_this_channel() {
        let (other, mut events) = event_channel();
        let (sink, stream) = event_channel();
        let mut relay = sink.relay();
        let before = sink.step(StepKind::Other, "before");
        let step = other.step(StepKind::Other, "build");
        let part = step.events().step(StepKind::Other, "part");
        part.log(LogSource::Output, "line");
        part.progress(1, Some(2));
        step.events().warn(WarningCode::Other, "careful", None);
        part.done();
        step.done();
        drop(other);
        while let Some(event) = events.next().await {
            relay.pass_on(event);
        }
        before.done();
        drop((sink, relay));
        let all = drain(stream).await;
        let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown[..4], ["#1 => before", "#2 => build", "#3 => part", "#3    line"]);
        assert_eq!(
            shown[5..],
            ["warning: careful", "#3 => part: done", "#2 => build: done", "#1 => before: done"]
        );
        let [build, part] = [StepId::new(2), StepId::new(3)];
        assert!(
            matches!(all[2], Event::StepStarted { step, parent: Some(parent), .. } if (parent, step) == (build, part))
        );
        assert!(matches!(all[4], Event::Progress { step, .. } if step == part));
        assert!(matches!(all[5], Event::Warning { step: Some(step), .. } if step == build));
    }
}
