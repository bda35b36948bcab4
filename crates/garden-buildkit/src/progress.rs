//! From the daemon's reports to the events of a build.

use std::collections::{BTreeMap, HashMap, VecDeque};

use garden_build_core::{EventSink, Step, Stream};

use crate::client::file_sync::Journal;
use crate::client::{CONTEXT, Counter, StepState, Update};

/// The daemon's name for the step in which it is sent the build context.
/// Source: `BuildKit`, `frontend/dockerui/config.go`, `MainContext`.
const LOAD_CONTEXT: &str = "[internal] load build context";

/// Lines of a step's output that are kept to explain its failure.
const TAIL: usize = 50;

/// A line that is longer is cut in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// What is known of a build under way.
#[derive(Debug)]
pub(crate) struct Progress {
    events: EventSink,
    journal: Journal,
    steps: HashMap<String, Followed>,
}

/// A step that the daemon has reported.
#[derive(Debug)]
struct Followed {
    name: String,
    /// While it is under way.
    step: Option<Step>,
    cached: bool,
    /// It may be over, or begin once more.
    rests: bool,
    ended: bool,
    lines: [Vec<u8>; 2],
    tail: VecDeque<String>,
    counters: BTreeMap<String, (u64, Option<u64>)>,
}

impl Progress {
    /// Reports to `events`. What is sent of the context is noted in `journal`.
    pub(crate) fn new(events: EventSink, journal: Journal) -> Self {
        Self { events, journal, steps: HashMap::new() }
    }

    /// Takes a report.
    pub(crate) fn update(&mut self, update: Update) {
        match update {
            Update::Step(state) => self.step(state),
            Update::Counter(counter) => self.counter(counter),
            Update::Output { step, is_error, bytes } => {
                if let Some(followed) = self.steps.get_mut(&step) {
                    followed.output(usize::from(is_error), &bytes);
                }
            }
            Update::Warning { message, url, line } => {
                let place = line.map(|line| format!("line {line} of the Dockerfile: ")).unwrap_or_default();
                let hint = Some(url).filter(|url| !url.is_empty()).map(|url| format!("see {url}"));
                self.events.warn(format!("{place}{message}"), hint);
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
        let mut lines = Vec::new();
        if let Some(followed) = self.steps.get(digest) {
            lines.extend(followed.tail.iter().cloned());
            let unfinished = followed.lines.iter().filter(|line| !line.is_empty());
            lines.extend(unfinished.map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        lines
    }

    /// Ends the steps of which no more is to come, now that the build has ended.
    pub(crate) fn finish(&mut self) {
        for followed in self.steps.values_mut() {
            if followed.rests && !followed.ended {
                followed.begin(&self.events);
                followed.end(None);
            }
        }
    }

    fn step(&mut self, state: StepState) {
        if state.started.is_some() {
            for input in &state.inputs {
                if let Some(input) = self.steps.get_mut(input).filter(|input| input.rests) {
                    input.end(None);
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
        if over && state.error.is_none() && !state.cached && (at_once || is_from(&followed.name)) {
            // A source is looked up first, and fetched only if that is not enough. FROM is even
            // begun several times; it is over when what builds on it begins.
            followed.rests = true;
            return;
        }
        followed.begin(&self.events);
        if over {
            if followed.name == LOAD_CONTEXT {
                followed.say(sent(&self.journal));
            }
            followed.end(state.error);
        }
    }

    fn counter(&mut self, counter: Counter) {
        let Some(followed) = self.steps.get_mut(&counter.step) else { return };
        let Some(step) = &followed.step else { return };
        if counter.current == 0 && counter.total.is_none() {
            // Not a quantity, but a part of the step, such as `exporting manifest sha256:…`.
            if counter.completed.is_none() && !followed.counters.contains_key(&counter.id) {
                step.log(Stream::Builder, counter.id.clone());
            }
            followed.counters.entry(counter.id).or_default();
            return;
        }
        followed.counters.insert(counter.id, (counter.current, counter.total));
        let current = followed.counters.values().map(|(current, _)| current).sum();
        let total =
            followed.counters.values().filter(|counter| **counter != (0, None)).map(|(_, total)| *total);
        step.progress(current, total.sum::<Option<u64>>());
    }
}

impl Followed {
    fn new(name: String) -> Self {
        Self {
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

    fn begin(&mut self, events: &EventSink) {
        self.rests = false;
        if self.step.is_none() {
            self.step = Some(events.step(self.name.clone()));
        }
    }

    fn say(&self, line: String) {
        if let Some(step) = &self.step {
            step.log(Stream::Builder, line);
        }
    }

    fn output(&mut self, stream: usize, mut bytes: &[u8]) {
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

    fn line(&mut self, stream: usize) {
        let bytes = std::mem::take(&mut self.lines[stream]);
        let line = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(&bytes)).into_owned();
        if let Some(step) = &self.step {
            step.log(Stream::Output, line.clone());
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn end(&mut self, error: Option<String>) {
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

/// Whether a step is an instruction that makes a layer or changes the image: `[2/3] RUN make` or
/// `[build 2/3] RUN make`, but neither `[internal] …` nor `exporting to image`. FROM makes nothing.
///
/// Source: `BuildKit`, `frontend/dockerfile/dockerfile2llb/convert.go`, `prefixCommand`.
fn is_instruction(name: &str) -> bool {
    let Some((place, instruction)) = name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else {
        return false;
    };
    let number = place.rsplit(' ').next().unwrap_or(place);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    number.split_once('/').is_some_and(|(this, of)| is_number(this) && is_number(of))
        && !instruction.starts_with("FROM ")
}

/// Whether a step fetches a base image.
fn is_from(name: &str) -> bool {
    name.starts_with('[') && name.contains("] FROM ")
}

fn instruction(name: &str) -> &str {
    if is_instruction(name) { name.split_once("] ").map_or(name, |(_, rest)| rest) } else { name }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use garden_build_core::event_channel;

    use super::*;

    fn state(digest: &str, name: &str) -> StepState {
        let now = Some(SystemTime::UNIX_EPOCH);
        StepState {
            digest: digest.to_owned(),
            name: name.to_owned(),
            inputs: Vec::new(),
            cached: false,
            started: now,
            completed: None,
            error: None,
        }
    }

    fn ended(digest: &str, name: &str) -> StepState {
        StepState { completed: Some(SystemTime::UNIX_EPOCH), ..state(digest, name) }
    }

    fn output(step: &str, text: &str) -> Update {
        Update::Output { step: step.to_owned(), is_error: false, bytes: text.as_bytes().to_vec() }
    }

    async fn shown(updates: Vec<Update>) -> (Vec<String>, (usize, usize)) {
        let (sink, mut stream) = event_channel();
        let mut progress = Progress::new(sink, Journal::default());
        for update in updates {
            progress.update(update);
        }
        let counts = progress.counts();
        drop(progress);
        let mut shown = Vec::new();
        while let Some(event) = stream.next().await {
            shown.push(event.to_string());
        }
        (shown, counts)
    }

    #[tokio::test]
    async fn steps_begin_print_whole_lines_and_end_once() {
        let name = "[build 2/3] RUN make";
        let (shown, counts) = shown(vec![
            Update::Step(StepState { started: None, ..state("a", name) }),
            Update::Step(state("a", name)),
            output("a", "one\r\ntw"),
            output("a", "o\nthree"),
            Update::Step(ended("a", name)),
            Update::Step(ended("a", name)),
            Update::Step(state("b", "[internal] load build definition from Dockerfile")),
            Update::Step(ended("b", "[internal] load build definition from Dockerfile")),
        ])
        .await;
        let expected = [
            format!("=> {name}"),
            "   one".to_owned(),
            "   two".to_owned(),
            "   three".to_owned(),
            format!("=> {name}: done"),
            "=> [internal] load build definition from Dockerfile".to_owned(),
            "=> [internal] load build definition from Dockerfile: done".to_owned(),
        ];
        assert_eq!(shown, expected);
        assert_eq!(counts, (0, 1));
    }

    #[tokio::test]
    async fn a_source_that_is_looked_up_and_then_fetched_is_one_step() {
        let (context, from) = ("[internal] load build context", "[1/2] FROM busybox");
        let on_top = StepState { inputs: vec!["f".to_owned()], ..state("r", "[2/2] RUN make") };
        let (shown, _) = shown(vec![
            Update::Step(ended("c", context)),
            Update::Step(state("c", context)),
            Update::Step(state("f", from)),
            Update::Step(ended("f", from)),
            Update::Step(state("f", from)),
            Update::Step(ended("c", context)),
            Update::Step(ended("f", from)),
            Update::Step(on_top),
        ])
        .await;
        let sent = "   sent 0 files (0 bytes) of a list of 0 entries";
        let expected = [
            "=> [internal] load build context",
            "=> [1/2] FROM busybox",
            sent,
            "=> [internal] load build context: done",
            "=> [1/2] FROM busybox: done",
            "=> [2/2] RUN make",
        ];
        assert_eq!(shown[..6], expected);
    }

    #[tokio::test]
    async fn cached_steps_are_counted_as_such_and_from_is_not_counted() {
        let cached =
            |digest: &str, name: &str| Update::Step(StepState { cached: true, ..ended(digest, name) });
        let (_, counts) = shown(vec![
            cached("a", "[1/3] FROM busybox"),
            cached("b", "[2/3] RUN a"),
            Update::Step(ended("b", "[2/3] RUN a")),
            Update::Step(state("c", "[stage-1 3/3] COPY . .")),
            Update::Step(ended("c", "[stage-1 3/3] COPY . .")),
            Update::Step(state("d", "exporting to image")),
            Update::Step(ended("d", "exporting to image")),
        ])
        .await;
        assert_eq!(counts, (1, 1));
    }

    #[tokio::test]
    async fn counters_of_a_step_are_added_up() {
        let counter = |id: &str, current, total| {
            Update::Counter(Counter {
                step: "a".to_owned(),
                id: id.to_owned(),
                current,
                total,
                started: None,
                completed: None,
            })
        };
        let (shown, _) = shown(vec![
            Update::Step(state("a", "[1/2] FROM busybox")),
            counter("sha256:1", 5, Some(10)),
            counter("sha256:2", 1, Some(7)),
            counter("unpacking", 0, None),
            Update::Step(ended("a", "[1/2] FROM busybox")),
        ])
        .await;
        assert_eq!(shown[1..4], ["   5 of 10 bytes", "   6 of 17 bytes", "   unpacking"]);
    }

    #[test]
    fn the_tail_is_of_the_step_that_failed() {
        let (sink, _stream) = event_channel();
        let mut progress = Progress::new(sink, Journal::default());
        progress.update(Update::Step(state("a", "[2/2] RUN make")));
        for number in 0..TAIL + 2 {
            progress.update(output("a", &format!("{number}\n")));
        }
        progress.update(output("a", "unfinished"));
        let tail = progress.tail("a");
        assert_eq!((tail[0].as_str(), tail.last().map(String::as_str)), ("2", Some("unfinished")));
        assert_eq!(progress.instruction("a"), Some("RUN make"));
        assert!(progress.tail("unknown").is_empty());
    }
}
