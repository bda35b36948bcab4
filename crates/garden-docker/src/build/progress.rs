//! From what the classic builder prints to the events of a build.

use std::collections::VecDeque;

use bollard::models::BuildInfo;
use garden_build_core::words::beginning;
use garden_build_core::{EventSink, Instruction, LogSource, Step};

use super::sending::Sending;

/// How many lines of a step's output an error shows.
const TAIL: usize = 20;

/// The most of a line that is kept while its end has not come.
const LONGEST_LINE: usize = 16 << 10;

/// No Dockerfile has nearly that many instructions. It is the daemon that says how many there are.
const MOST_STEPS: usize = 10_000;

/// In which the daemon shows what a command writes to its standard error stream, and with which it ends that.
const COLOURS: [&str; 2] = ["\x1b[91m", "\x1b[0m"];

/// Reads what the daemon says, and reports each instruction of the Dockerfile as a step.
///
/// Source of the words: Docker, `builder/dockerfile/builder.go` and `internals.go`.
#[derive(Debug)]
pub(crate) struct Progress {
    events: EventSink,
    sending: Sending,
    step: Option<Step>,
    /// Number and text of the instruction under way, kept for the sake of errors.
    instruction: Option<(usize, String)>,
    /// How many instructions there are, as the first one said.
    total: usize,
    is_cached: bool,
    partial: String,
    tail: VecDeque<String>,
    steps_cached: usize,
    steps_run: usize,
    has_image: bool,
}

impl Progress {
    /// Reports to `events`, and ends `sending` when the builder has the context.
    pub(crate) fn new(events: EventSink, sending: Sending) -> Self {
        Self {
            events,
            sending,
            step: None,
            instruction: None,
            total: 0,
            is_cached: false,
            partial: String::new(),
            tail: VecDeque::new(),
            steps_cached: 0,
            steps_run: 0,
            has_image: false,
        }
    }

    /// Takes what the daemon says.
    pub(crate) fn say(&mut self, said: &BuildInfo) {
        // It names an image. In which type depends on whether any crate of the program switches on bollard's feature `buildkit`.
        self.has_image |= said.aux.is_some();
        if let Some(output) = &said.stream {
            output.split_inclusive('\n').for_each(|piece| self.print(piece));
        }
        // Pulling a base image is reported layer by layer, many times a second.
        let is_pulled = |status: &str| status.starts_with("Pulling from ") || status.starts_with("Status: ");
        if let Some(status) = said.status.as_deref().filter(|status| is_pulled(status)) {
            self.log(LogSource::Builder, status);
        }
    }

    /// Takes a piece of output that goes to the end of a line at most.
    fn print(&mut self, mut piece: &str) {
        loop {
            let fits = beginning(piece, LONGEST_LINE.saturating_sub(self.partial.len()));
            let rest = &piece[fits.len()..];
            self.partial.push_str(fits);
            if rest.is_empty() && !fits.ends_with('\n') {
                return;
            }
            let line = std::mem::take(&mut self.partial);
            self.line(line.trim_end_matches(['\n', '\r']));
            if rest.is_empty() {
                return;
            }
            piece = rest;
        }
    }

    /// The build has succeeded.
    pub(crate) fn finish(&mut self) {
        self.end_step(None);
    }

    /// The build has failed.
    pub(crate) fn fail(&mut self, error: &str) {
        self.sending.failed(error);
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.line(&rest);
        }
        self.end_step(Some(error));
    }

    /// Whether the daemon has named an image that it has made.
    pub(crate) fn has_image(&self) -> bool {
        self.has_image
    }

    /// Returns how many instructions came from the cache, and how many were run. FROM makes nothing.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.steps_cached, self.steps_run)
    }

    /// Returns the instruction that was under way last.
    pub(crate) fn instruction(&self) -> Option<&str> {
        self.instruction.as_ref().map(|(_, text)| text.as_str())
    }

    /// Returns the last lines that this instruction printed.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    fn line(&mut self, line: &str) {
        let line = COLOURS.iter().fold(line.to_owned(), |line, colour| line.replace(colour, ""));
        let line = line.as_str();
        if let Some((number, total, text)) = self.announced(line) {
            self.end_step(None);
            self.sending.done();
            let mut instruction = Instruction::new(text);
            (instruction.number, instruction.of) = (u32::try_from(number).ok(), u32::try_from(total).ok());
            self.step = Some(self.events.step(instruction, format!("[{number}/{total}] {text}")));
            self.total = total;
            self.instruction = Some((number, text.to_owned()));
            self.tail.clear();
            return;
        }
        match line.strip_prefix(" ---> ") {
            Some("Using cache") => self.is_cached = true,
            // Identifiers of images and containers, which are of no use to anybody.
            Some(_) => {}
            None if line.is_empty() || line.starts_with("Removing intermediate container ") => {}
            None if line.starts_with("Removed intermediate container ") => {}
            None if line.starts_with("Successfully built ") || line.starts_with("Successfully tagged ") => {
                self.log(LogSource::Builder, line);
            }
            None => {
                if self.tail.len() == TAIL {
                    self.tail.pop_front();
                }
                self.tail.push_back(line.to_owned());
                self.log(LogSource::Output, line);
            }
        }
    }

    /// Reads `Step 2/3 : RUN make`. A command may print such a line as well, but hardly the one that is next; and there are never more of
    /// them than the first one has said, which comes before any command runs.
    fn announced<'a>(&self, line: &'a str) -> Option<(usize, usize, &'a str)> {
        let (place, text) = line.strip_prefix("Step ")?.split_once(" : ")?;
        let (number, total) = place.split_once('/')?;
        let (number, total) = (number.parse::<usize>().ok()?, total.parse::<usize>().ok()?);
        let is_next = match &self.instruction {
            Some((last, _)) => number == last + 1 && number <= total && total == self.total,
            None => number == 1 && total <= MOST_STEPS,
        };
        is_next.then_some((number, total, text))
    }

    fn log(&self, source: LogSource, line: &str) {
        match &self.step {
            Some(step) => step.log(source, line),
            None => self.sending.events().as_ref().unwrap_or(&self.events).log_from(source, line),
        }
    }

    fn end_step(&mut self, error: Option<&str>) {
        let Some(step) = self.step.take() else { return };
        let is_cached = std::mem::take(&mut self.is_cached);
        if let Some(error) = error {
            step.failed(error);
            return;
        }
        let makes_something = self.instruction().is_some_and(|text| !is_from(text));
        match (makes_something, is_cached) {
            (true, true) => self.steps_cached += 1,
            (true, false) => self.steps_run += 1,
            (false, _) => {}
        }
        if is_cached { step.cached() } else { step.done() }
    }
}

/// Whether an instruction only names a base image.
pub(super) fn is_from(instruction: &str) -> bool {
    instruction.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("FROM "))
}

#[cfg(test)]
mod tests {
    use garden_build_core::{Event, EventStream, StepKind, event_channel};

    use super::*;

    fn reading(said: &[&str]) -> (Progress, EventStream) {
        let (events, stream) = event_channel();
        let sending = Sending::new(events.step(StepKind::Upload, "send"), 0);
        let mut progress = Progress::new(events, sending);
        for &text in said {
            progress.say(&BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() });
        }
        (progress, stream)
    }

    async fn shown(progress: Progress, mut stream: EventStream) -> Vec<String> {
        drop(progress);
        let mut shown = Vec::new();
        while let Some(event) = stream.next().await {
            shown.push(event.to_string());
        }
        shown
    }

    #[tokio::test]
    async fn each_instruction_is_a_step_and_what_it_prints_belongs_to_it() {
        let (mut progress, stream) = reading(&[
            "Step 1/3 : FROM busybox\n",
            " ---> 0123456789ab\n",
            "Step 2/3 : COPY a /\n",
            " ---> Using cache\n",
            " ---> 1123456789ab\n",
            "Step 3/3 : RUN make\n",
            " ---> Running in 2123456789ab\n",
            "one\ntw",
            "o\nStep 9/9 : RUN something\n",
            "\x1b[91mwrong\n\x1b[0m",
            "\x1b[0mRemoving intermediate container 2123456789ab\n",
            " ---> 3123456789ab\n",
            "Successfully built 3123456789ab\n",
        ]);
        progress.finish();
        assert_eq!(progress.counts(), (1, 1));
        assert_eq!(
            shown(progress, stream).await,
            [
                "#1 => send",
                "#1    100% (0.0 of 0.0 kB)",
                "#1 => send: done",
                "#2 => [1/3] FROM busybox",
                "#2 => [1/3] FROM busybox: done",
                "#3 => [2/3] COPY a /",
                "#3 => [2/3] COPY a /: cached",
                "#4 => [3/3] RUN make",
                "#4    one",
                "#4    two",
                "#4    Step 9/9 : RUN something",
                "#4    wrong",
                "#4    Successfully built 3123456789ab",
                "#4 => [3/3] RUN make: done",
            ]
        );
    }

    #[tokio::test]
    async fn an_instruction_says_which_of_how_many_it_is() {
        let (mut progress, mut stream) = reading(&["Step 1/2 : FROM busybox\n", "Step 2/2 : RUN make\n"]);
        progress.finish();
        drop(progress);
        let mut places = Vec::new();
        while let Some(event) = stream.next().await {
            if let Event::StepStarted { kind: StepKind::Instruction(of), .. } = event {
                places.push((of.number, of.of, of.text));
            }
        }
        let place = |number, text: &str| (Some(number), Some(2), text.to_owned());
        assert_eq!(places, [place(1, "FROM busybox"), place(2, "RUN make")]);
    }

    #[tokio::test]
    async fn a_failing_step_keeps_the_end_of_its_output() {
        let lines = "a line\n".repeat(TAIL + 5);
        let (mut progress, stream) = reading(&["Step 1/1 : RUN make\n", &lines, "no end"]);
        progress.fail("exit code 2");
        assert_eq!(progress.instruction(), Some("RUN make"));
        let tail = progress.tail();
        assert_eq!((tail.len(), tail.last().map(String::as_str)), (TAIL, Some("no end")));
        assert_eq!(progress.counts(), (0, 0));
        assert!(
            shown(progress, stream).await.contains(&"#2 => [1/1] RUN make: FAILED: exit code 2".to_owned())
        );
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let endless = "x".repeat(LONGEST_LINE + 1);
        let (progress, _stream) = reading(&["Step 1/1 : RUN make\n", &endless, "y"]);
        assert_eq!(progress.partial, "xy");
        let umlauts = "ü".repeat(2 * LONGEST_LINE);
        let (progress, _stream) = reading(&["Step 1/1 : RUN make\n", "x", &umlauts, "\n"]);
        assert!(progress.tail().iter().all(|line| line.len() <= LONGEST_LINE));
        assert_eq!(progress.tail().concat(), format!("x{umlauts}"));
    }

    #[tokio::test]
    async fn a_daemon_announces_no_more_steps_than_are_kept() {
        for (total, is_step) in [(MOST_STEPS, true), (MOST_STEPS + 1, false)] {
            let line = format!("Step 1/{total} : FROM busybox");
            let (mut progress, stream) = reading(&[&format!("{line}\n")]);
            progress.finish();
            let shown = shown(progress, stream).await.join("\n");
            assert_eq!(shown.contains(&format!("=> [1/{total}] FROM busybox")), is_step, "{shown}");
            assert_eq!(shown.contains(&line), !is_step, "{shown}");
        }
    }

    #[tokio::test]
    async fn a_command_makes_up_no_more_steps_than_there_are() {
        let made_up: Vec<String> = (2..5000).map(|step| format!("Step {step}/3 : RUN made up\n")).collect();
        let made_up = made_up.concat();
        let (progress, stream) = reading(&["Step 1/3 : FROM a\n", "Step 2/3 : RUN evil\n", &made_up]);
        let steps = shown(progress, stream).await.into_iter().filter(|shown| shown.contains(" => ["));
        assert!(steps.filter(|shown| !shown.contains(": ")).count() <= 3);
    }
}
