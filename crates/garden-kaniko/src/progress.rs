use garden_build_core::{Event, EventSink, ImageReference, Step, Stream};
use serde::Deserialize;

/// Instructions of a Dockerfile. The executor announces each with a line that begins with it.
/// Source: Dockerfile reference, "Overview".
const INSTRUCTIONS: [&str; 17] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// How many lines of the log an error shows.
const TAIL: usize = 20;

/// Warnings are events that are never dropped, so there must not be any number of them. All are in
/// the log as well.
const MOST_WARNINGS: usize = 100;

/// Reads the executor's log line by line and reports it as events: each Dockerfile instruction, and
/// the push, is a step.
///
/// Source of the messages: kaniko, `pkg/executor/build.go` and `push.go`.
#[derive(Debug)]
pub(crate) struct Progress {
    events: EventSink,
    /// What the executor says when it begins to push the image. Cached layers are pushed in much the
    /// same words, but beside the instructions.
    push: String,
    stage: String,
    step: Option<Step>,
    from_cache: Vec<String>,
    /// The instruction under way, kept after its step has ended for the sake of errors.
    instruction: Option<String>,
    tail: Vec<String>,
    steps_cached: usize,
    steps_run: usize,
    /// The executor prints all its flags after some errors. They would bury the error.
    prints_usage: bool,
    warnings: usize,
}

/// One line of `--log-format=json`. What a RUN prints can be JSON as well, so a record must have the
/// executor's fields and no others, and its levels in their spelling.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    level: Level,
    msg: String,
    #[serde(rename = "time")]
    _time: String,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    Fatal,
    Panic,
}

impl Progress {
    pub(crate) fn new(events: EventSink, destination: &ImageReference) -> Self {
        Self {
            events,
            push: format!("Pushing image to {destination}"),
            stage: String::new(),
            step: None,
            from_cache: Vec::new(),
            instruction: None,
            tail: Vec::new(),
            steps_cached: 0,
            steps_run: 0,
            prints_usage: false,
            warnings: 0,
        }
    }

    /// Takes the next line.
    pub(crate) fn line(&mut self, line: &str) {
        // Before its first instruction; later, it is a RUN that prints the like.
        let is_starting = self.instruction.is_none() && self.step.is_none();
        let after_error = self.tail.last().is_some_and(|last| last.starts_with("Error: "));
        self.prints_usage |= is_starting && after_error && line == "Usage:";
        if self.prints_usage {
            return;
        }
        match serde_json::from_str::<Record>(line) {
            Ok(record) => self.builder_says(&record),
            Err(_) => self.log(Stream::Output, line),
        }
    }

    /// Returns the instruction that was under way last.
    pub(crate) fn instruction(&self) -> Option<&str> {
        self.instruction.as_deref()
    }

    /// Returns the last lines, oldest first.
    pub(crate) fn tail(&self) -> &[String] {
        &self.tail
    }

    /// Returns how many instructions came from the cache, and how many were run.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.steps_cached, self.steps_run)
    }

    /// Ends the step under way as done, or as failed with `error`.
    pub(crate) fn end(&mut self, error: Option<&str>) {
        if let Some(step) = self.step.take() {
            match error {
                None => step.done(),
                Some(error) => step.failed(error),
            }
        }
    }

    fn builder_says(&mut self, record: &Record) {
        let message = record.msg.trim_end();
        if let Some(command) = message.strip_prefix("Using caching version of cmd: ") {
            self.from_cache.push(command.to_owned());
        } else if let Some(stage) = message.strip_prefix("Building stage ") {
            self.end(None);
            self.from_cache.clear();
            let base = stage.split(" [idx").next().unwrap_or(stage);
            base.trim_matches('\'').clone_into(&mut self.stage);
            self.instruction = None;
        } else if is_instruction(message) {
            self.instruction_begins(message);
            return;
        } else if message == self.push {
            self.end(None);
            self.instruction = None;
            self.step = Some(self.events.step(message));
            return;
        }
        let is_serious = !matches!(record.level, Level::Trace | Level::Debug | Level::Info);
        if is_serious && self.warnings < MOST_WARNINGS {
            self.warnings += 1;
            self.events.warn(message, None);
        }
        self.log(Stream::Builder, message);
    }

    fn instruction_begins(&mut self, instruction: &str) {
        self.end(None);
        self.instruction = Some(instruction.to_owned());
        let step = self.events.step(format!("[{}] {instruction}", self.stage));
        let cached = self.from_cache.iter().position(|command| command == instruction);
        if let Some(position) = cached {
            self.from_cache.remove(position);
            self.steps_cached += 1;
            step.cached();
        } else {
            self.steps_run += 1;
            self.step = Some(step);
        }
    }

    fn log(&mut self, stream: Stream, line: &str) {
        match &self.step {
            Some(step) => step.log(stream, line),
            None => {
                self.events.emit(Event::Log { step: None, stream, line: line.to_owned() });
            }
        }
        if self.tail.len() == TAIL {
            self.tail.remove(0);
        }
        self.tail.push(line.to_owned());
    }
}

fn is_instruction(message: &str) -> bool {
    message.split_once(' ').is_some_and(|(word, _)| INSTRUCTIONS.contains(&word))
}

#[cfg(test)]
mod tests {
    use garden_build_core::event_channel;

    use super::*;

    fn new(sink: EventSink) -> Progress {
        Progress::new(sink, &"registry.example/api:v-1".parse().expect("valid"))
    }

    fn info(message: &str) -> String {
        serde_json::json!({ "level": "info", "msg": message, "time": "2026-01-01T00:00:00Z" }).to_string()
    }

    /// What a real executor 1.24.0 printed for a two-stage Dockerfile, shortened.
    fn log() -> Vec<String> {
        vec![
            info("Building stage 'busybox:1.36' [idx: '0', base-idx: '-1']"),
            info("Using caching version of cmd: RUN make"),
            info("COPY . /src"),
            info("Taking snapshot of files..."),
            info("RUN make"),
            info("Found cached layer, extracting to filesystem"),
            info("Pushing image to registry.example/api/cache:0123"),
            info("Building stage 'scratch' [idx: '1', base-idx: '-1']"),
            info("RUN false"),
            "compiling".to_owned(),
            "boom".to_owned(),
            info("Pushing image to registry.example/api:v-1"),
        ]
    }

    async fn shown(progress: Progress, mut stream: garden_build_core::EventStream) -> Vec<String> {
        drop(progress);
        let mut shown = Vec::new();
        while let Some(event) = stream.next().await {
            if !matches!(event, Event::Log { stream: Stream::Builder, .. }) {
                shown.push(event.to_string());
            }
        }
        shown
    }

    #[tokio::test]
    async fn every_instruction_is_a_step_and_cached_ones_say_so() {
        let (sink, stream) = event_channel();
        let mut progress = new(sink);
        for line in log() {
            progress.line(&line);
        }
        assert_eq!(progress.counts(), (1, 2));
        assert_eq!(progress.tail().last().map(String::as_str), Some("boom"));
        progress.end(Some("refused"));
        assert_eq!(
            shown(progress, stream).await,
            [
                "=> [busybox:1.36] COPY . /src",
                "=> [busybox:1.36] COPY . /src: done",
                "=> [busybox:1.36] RUN make",
                "=> [busybox:1.36] RUN make: cached",
                "=> [scratch] RUN false",
                "   compiling",
                "   boom",
                "=> [scratch] RUN false: done",
                "=> Pushing image to registry.example/api:v-1",
                "=> Pushing image to registry.example/api:v-1: FAILED: refused",
            ]
        );
    }

    #[tokio::test]
    async fn the_list_of_flags_does_not_bury_the_error() {
        let (sink, _stream) = event_channel();
        let mut progress = new(sink);
        for line in ["Error: unknown flag: --x", "Usage:", "  executor [flags]", "Flags:"] {
            progress.line(line);
        }
        assert_eq!(progress.tail(), ["Error: unknown flag: --x"]);
    }

    #[tokio::test]
    async fn what_a_run_prints_is_not_taken_for_the_executor_s_words() {
        let (sink, stream) = event_channel();
        let mut progress = new(sink);
        progress.line(&info("RUN ./tool"));
        let printed = [
            "Error: unknown command",
            "Usage:",
            r#"{"level":"warning","msg":"COPY a b","time":"now","caller":"main.go"}"#,
            r#"{"level":"INFO","msg":"RUN again","time":"now"}"#,
        ];
        for line in printed {
            progress.line(line);
        }
        progress.line(&info("RUN true"));
        assert_eq!(progress.counts(), (0, 2));
        assert_eq!(progress.tail(), printed);
        drop(progress);
        let mut stream = stream;
        while let Some(event) = stream.next().await {
            assert!(!matches!(event, Event::Warning { .. }), "{event}");
        }
    }

    #[tokio::test]
    async fn the_tail_is_bounded() {
        let (sink, _stream) = event_channel();
        let mut progress = new(sink);
        for number in 0..1000 {
            progress.line(&number.to_string());
        }
        assert_eq!(progress.tail().len(), TAIL);
        assert_eq!(progress.tail()[0], "980");
    }
}
