//! Where results and progress go.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use garden_build::CancellationToken;
use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::ProgressOption;

/// How events and results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A block on a terminal that is drawn again and again.
    Terminal,
    /// Line after line.
    Plain,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// What suits the standard error, where progress goes.
    pub fn of_standard_error() -> Self {
        // A terminal that cannot move its cursor (`TERM=dumb`) is none for this purpose.
        if Term::stderr().features().is_attended() { Self::Terminal } else { Self::Plain }
    }

    pub(crate) fn of(option: ProgressOption) -> Self {
        match option {
            ProgressOption::Auto => Self::of_standard_error(),
            ProgressOption::Tty => Self::Terminal,
            ProgressOption::Plain => Self::Plain,
            ProgressOption::Json => Self::Json,
        }
    }
}

/// The standard output and the standard error. When their reader has gone, what runs is cancelled: nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    reader_has_gone: AtomicBool,
    cancel: CancellationToken,
}

impl Output {
    pub(crate) fn new(format: Format, cancel: CancellationToken) -> Self {
        Self { format, reader_has_gone: AtomicBool::new(false), cancel }
    }

    /// Prints a result: as JSON, or in words.
    pub(crate) fn result(&self, name: Option<&str>, result: &impl Serialize, words: impl Display) {
        match self.format {
            Format::Json => self.json("result", name, json!(result)),
            _ => self.print(words),
        }
    }

    /// Prints `{ "NAME": VALUE, "build": … }`, with the build that it is about if there are several.
    pub(crate) fn json(&self, what: &str, build: Option<&str>, value: Value) {
        let mut line = serde_json::Map::from_iter([(what.to_owned(), value)]);
        line.extend(build.map(|build| ("build".to_owned(), build.into())));
        self.print(Value::Object(line));
    }

    /// Prints a line to the standard output.
    pub(crate) fn print(&self, line: impl Display) {
        let mut output = io::stdout().lock();
        self.note(&writeln!(output, "{line}").and_then(|()| output.flush()));
    }

    /// Prints a line to the standard error.
    pub(crate) fn tell(&self, line: impl Display) {
        self.note(&writeln!(io::stderr().lock(), "{line}"));
    }

    fn note(&self, written: &io::Result<()>) {
        // A full disk, too, leaves nobody who reads the rest.
        if written.is_err() {
            self.reader_has_gone.store(true, Ordering::SeqCst);
            self.cancel.cancel();
        }
    }

    pub(crate) fn reader_has_gone(&self) -> bool {
        self.reader_has_gone.load(Ordering::SeqCst)
    }
}
