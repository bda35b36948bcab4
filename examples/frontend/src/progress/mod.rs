//! From events to what people and programs read.
//!
//! [`steps`] has what is known so far, [`screen`] lays it out for a terminal, [`plain`] makes lines of events. None of these does any I/O. [`terminal`]
//! draws.

mod plain;
mod screen;
mod steps;
mod terminal;
pub(crate) mod text;

use std::time::SystemTime;

use garden_build::{ErrorKind, Event, Result};
use serde_json::json;

use self::plain::PlainLines;
use self::terminal::Terminal;
use crate::output::{Format, Output};

const CANCELLED: &str = "cancelled: cleaning up; Ctrl-C again leaves at once";

/// How all that was shown together has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Finished,
    Failed,
    Cancelled,
}

impl Ending {
    pub(crate) fn of<T>(outcomes: &[Result<T>]) -> Self {
        let mut errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        match errors.next() {
            None => Self::Finished,
            Some(first) if first.kind() == ErrorKind::Cancelled => Self::Cancelled,
            Some(_) => Self::Failed,
        }
    }
}

/// Shows events in the format that was asked for.
pub(crate) struct Display<'a> {
    output: &'a Output,
    /// Of what is shown side by side.
    names: Vec<Option<String>>,
    form: Form,
}

enum Form {
    Terminal(Box<Terminal>),
    Plain(PlainLines),
    Json,
}

impl<'a> Display<'a> {
    pub(crate) fn new(
        output: &'a Output,
        activity: &str,
        names: Vec<Option<String>>,
        now: SystemTime,
    ) -> Self {
        // One alone needs no name on every line.
        let labels = if names.len() > 1 { names.clone() } else { vec![None] };
        let form = match output.format {
            Format::Terminal => Form::Terminal(Box::new(Terminal::new(activity, labels, now))),
            Format::Plain => Form::Plain(PlainLines::new(labels)),
            Format::Json => Form::Json,
        };
        Self { output, names, form }
    }

    /// Takes an event of the one with this number.
    pub(crate) fn show(&mut self, number: usize, event: &Event) {
        match &mut self.form {
            Form::Terminal(terminal) => terminal.take(number, event),
            Form::Plain(plain) => {
                for line in plain.lines(number, event) {
                    self.output.tell(line);
                }
            }
            Form::Json => {
                let mut line = json!(event);
                if let Some(Some(name)) = self.names.get(number) {
                    line["build"] = name.as_str().into();
                }
                self.output.print(line);
            }
        }
    }

    /// Says that all is cancelled and cleans up.
    pub(crate) fn cancelled(&mut self) {
        match &mut self.form {
            Form::Terminal(terminal) => terminal.cancelled(CANCELLED),
            Form::Plain(plain) => {
                plain.cancelled();
                self.output.tell(CANCELLED);
            }
            Form::Json => self.output.tell(CANCELLED),
        }
    }

    /// Shows how time goes by, where that can be shown.
    pub(crate) fn draw(&self, now: SystemTime) {
        if let Form::Terminal(terminal) = &self.form {
            terminal.draw(now);
        }
    }

    pub(crate) fn end(self, ending: Ending, now: SystemTime) {
        if let Form::Terminal(terminal) = self.form {
            terminal.end(ending, now);
        }
    }
}
