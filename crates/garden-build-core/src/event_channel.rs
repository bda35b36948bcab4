//! How events get from a build to its readers, without one waiting for the other.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::Result;
use crate::event::{Event, StepId, Stream};
use crate::event_queue::{History, Queue};
use crate::phases::Phases;

/// Creates a pair through which a build reports to its caller.
///
/// The sink never waits: when the caller is slow, the oldest log lines and counters make room and
/// the caller is told how many it missed.
pub fn event_channel() -> (EventSink, EventStream) {
    let shared = Arc::new(Shared::default());
    let source = EventSource(Arc::clone(&shared));
    (EventSink { sender: Arc::new(Sender(shared)), step: None }, source.stream())
}

/// The steps of all builds have numbers of their own: one build may pass on the events of another.
static NEXT_STEP: AtomicU64 = AtomicU64::new(0);

#[derive(Default, Debug)]
struct Shared {
    readers: Mutex<Readers>,
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
    /// The step that lines of [`log`](Self::log) belong to.
    step: Option<StepId>,
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

    /// Says what is under way and what it waits for, and how long the longest steps before took; `None` if nothing is known.
    pub(crate) fn account(&self) -> Option<String> {
        self.sender.0.phases().account()
    }

    /// Reports that a step began; the returned [`Step`] reports the rest of its life.
    pub fn step(&self, name: impl Into<String>) -> Step {
        let id = StepId(NEXT_STEP.fetch_add(1, Ordering::Relaxed));
        let name = name.into();
        self.emit(Event::StepStarted { step: id, name: name.clone() });
        let sink = Self { sender: Arc::clone(&self.sender), step: Some(id) };
        Step { sink, id, name, finished: false }
    }

    /// Reports a line of the builder's: what is waited for, or done. In the sink of a step (see [`Step::events`]), it
    /// belongs to that step.
    pub fn log(&self, line: impl Into<String>) {
        self.emit(Event::Log { step: self.step, stream: Stream::Builder, line: line.into() });
    }

    /// Reports a warning, and what to do about it.
    pub fn warn(&self, message: impl Into<String>, hint: Option<String>) {
        self.emit(Event::Warning { message: message.into(), hint });
    }
}

/// A step under way. Dropped without having been finished, it reports that it was interrupted, so
/// that no consumer waits for the end of a step that nobody will report.
#[derive(Debug)]
pub struct Step {
    sink: EventSink,
    id: StepId,
    name: String,
    finished: bool,
}

impl Step {
    /// Returns the sink for what is done within this step.
    pub fn events(&self) -> &EventSink {
        &self.sink
    }

    /// Reports a line of output of this step.
    pub fn log(&self, stream: Stream, line: impl Into<String>) {
        self.sink.emit(Event::Log { step: Some(self.id), stream, line: line.into() });
    }

    /// Reports how many bytes are done, of how many.
    pub fn progress(&self, current: u64, total: Option<u64>) {
        self.sink.emit(Event::Progress { step: self.id, current, total });
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
        self.sink.emit(Event::StepFinished { step: self.id, name: self.name.clone(), cached, error });
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            self.report_end(false, Some("interrupted".to_owned()));
        }
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
    use super::*;
    use crate::event_queue::{CAPACITY, LARGEST, LARGEST_KEPT, MOST, MOST_KEPT};

    fn line(number: usize) -> Event {
        Event::Log { step: None, stream: Stream::Output, line: number.to_string() }
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
        sink.clone().step("scan").done();
        sink.emit(line(1));
        drop(sink);
        let shown: Vec<String> = drain(stream).await.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["=> scan", "=> scan: done", "   1"]);
    }

    #[tokio::test]
    async fn a_slow_consumer_loses_the_oldest_lines_but_no_step_and_is_told() {
        let (sink, stream) = event_channel();
        let step = sink.step("build");
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
            sink.step(format!("made up {number}")).done();
        }
        sink.warn("the last", None);
        drop(sink);
        let events = drain(stream).await;
        assert_eq!(events.len(), MOST + 1);
        assert!(matches!(events[0], Event::Missed { count } if count > 0), "{:?}", events[0]);
        assert!(matches!(events.last(), Some(Event::Warning { .. })), "the oldest go");

        let (sink, stream) = event_channel();
        let large = "x".repeat(LARGEST / 10);
        for _ in 0..100 {
            sink.log(large.clone());
            sink.warn(large.clone(), None);
        }
        sink.warn("x".repeat(2 * LARGEST), None);
        drop(sink);
        let events = drain(stream).await;
        assert_eq!(events.len(), 2, "one that is larger than all may be waits alone");
    }

    #[tokio::test]
    async fn a_line_belongs_to_the_step_whose_sink_reports_it() {
        let (sink, stream) = event_channel();
        let step = sink.step("find the daemon");
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

    #[tokio::test]
    async fn an_abandoned_step_is_reported_as_interrupted() {
        let (sink, stream) = event_channel();
        drop(sink.step("upload"));
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
        let step = sink.step("build");
        step.log(Stream::Output, "before");
        step.progress(1, None);
        sink.warn("careful", None);
        let second = sink.source().stream();
        step.log(Stream::Output, "after");
        step.done();
        let source = sink.source();
        drop(sink);
        let shown = |events: Vec<Event>| events.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            shown(drain(second).await),
            ["=> build", "warning: careful", "   after", "=> build: done"]
        );
        assert_eq!(shown(drain(source.stream()).await), ["=> build", "warning: careful", "=> build: done"]);
        assert_eq!(drain(first).await.len(), 6);
    }

    #[tokio::test]
    async fn what_is_kept_for_later_is_bounded() {
        let (sink, stream) = event_channel();
        drop(stream);
        for number in 0..MOST_KEPT {
            sink.step(format!("made up {number}")).done();
        }
        let events = |stream| async { drain(stream).await.len() };
        let source = sink.source();
        let later = source.stream();
        sink.warn("x".repeat(LARGEST_KEPT), None);
        let latest = source.stream();
        drop(sink);
        assert_eq!(events(later).await, 1 + MOST_KEPT + 1);
        assert_eq!(drain(latest).await, [Event::Missed { count: 2 * MOST_KEPT as u64 + 1 }]);
    }
}
