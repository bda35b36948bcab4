use garden_build_core::{EventSink, ImageReference, Instruction, LogSource, Step, StepKind, WarningCode};
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

/// What the executor says when it reads the context from its standard input. It is for a person at a terminal; here it would look like an
/// order to press keys.
/// Source: kaniko 1.24, `pkg/buildcontext/tar.go`.
const TO_SIMULATE_EOF: &str = "To simulate EOF and exit, press 'Ctrl+D'";

/// How many lines of the log an error shows.
const TAIL: usize = 20;

/// Steps and warnings are events that are never dropped, so there must not be any number of them: a RUN can print records like the
/// executor's. What is beyond is in the log all the same. Nobody writes Dockerfiles of so many instructions: an image
/// has 127 layers at most with common file systems.
const MOST_STEPS: usize = 2000;
const MOST_WARNINGS: usize = 100;

/// How much of a record an event keeps that is never dropped, or that is kept here, in bytes.
const LONGEST_KEPT: usize = 1024;

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
    /// How many there were.
    steps: usize,
    from_cache: Vec<String>,
    /// The instruction under way, kept after its step has ended for the sake of errors.
    instruction: Option<String>,
    has_begun: bool,
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
            steps: 0,
            from_cache: Vec::new(),
            instruction: None,
            has_begun: false,
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
        let after_error = self.tail.last().is_some_and(|last| last.starts_with("Error: "));
        self.prints_usage |= !self.has_begun && after_error && line == "Usage:";
        if self.prints_usage {
            return;
        }
        match serde_json::from_str::<Record>(line) {
            Ok(record) => self.builder_says(&record),
            Err(_) => self.log(LogSource::Output, line),
        }
    }

    /// Returns the instruction that was under way last.
    pub(crate) fn instruction(&self) -> Option<&str> {
        self.instruction.as_deref()
    }

    /// Whether an instruction has begun, or the push. From then on, lines may be those of a RUN, whatever they look like.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
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
            if self.from_cache.len() < MOST_STEPS {
                self.from_cache.push(kept(command));
            }
        } else if let Some(stage) = message.strip_prefix("Building stage ") {
            self.end(None);
            self.from_cache.clear();
            let base = stage.split(" [idx").next().unwrap_or(stage);
            self.stage = kept(base.trim_matches('\''));
            self.instruction = None;
        } else if is_instruction(message) {
            self.instruction_begins(message);
            return;
        } else if message == self.push {
            self.end(None);
            self.has_begun = true;
            self.instruction = None;
            self.step = self.step(StepKind::Push, message);
            return;
        } else if message == TO_SIMULATE_EOF {
            return;
        }
        let is_serious = !matches!(record.level, Level::Trace | Level::Debug | Level::Info);
        if is_serious && self.warnings < MOST_WARNINGS {
            self.warnings += 1;
            self.sink().warn(WarningCode::Builder, kept(message), None);
            self.keep(message);
        } else {
            self.log(LogSource::Builder, message);
        }
    }

    fn instruction_begins(&mut self, instruction: &str) {
        self.end(None);
        self.has_begun = true;
        let instruction = kept(instruction);
        let mut kind = Instruction::new(instruction.clone());
        kind.stage = Some(self.stage.clone()).filter(|stage| !stage.is_empty());
        let step = self.step(kind, &format!("[{}] {instruction}", self.stage));
        let cached = self.from_cache.iter().position(|command| *command == instruction);
        if let Some(position) = cached {
            self.from_cache.remove(position);
            self.steps_cached += 1;
            if let Some(step) = step {
                step.cached();
            }
        } else {
            self.steps_run += 1;
            self.step = step;
        }
        self.instruction = Some(instruction);
    }

    /// Begins a step, unless there were too many; then it is a line of the log.
    fn step(&mut self, kind: impl Into<StepKind>, name: &str) -> Option<Step> {
        if self.steps == MOST_STEPS {
            self.log(LogSource::Builder, name);
            return None;
        }
        self.steps += 1;
        Some(self.events.step(kind, name))
    }

    fn log(&mut self, source: LogSource, line: &str) {
        self.sink().log_from(source, line);
        self.keep(line);
    }

    /// That of the step under way, if there is one.
    fn sink(&self) -> &EventSink {
        self.step.as_ref().map_or(&self.events, Step::events)
    }

    fn keep(&mut self, line: &str) {
        if self.tail.len() == TAIL {
            self.tail.remove(0);
        }
        self.tail.push(line.to_owned());
    }
}

/// Returns what is kept of a record's text.
fn kept(text: &str) -> String {
    if text.len() <= LONGEST_KEPT {
        return text.to_owned();
    }
    let end = (0..=LONGEST_KEPT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end])
}

fn is_instruction(message: &str) -> bool {
    message.split_once(' ').is_some_and(|(word, _)| INSTRUCTIONS.contains(&word))
}

#[cfg(test)]
mod tests;
