//! Lines for logs, and for terminals that are none.
//!
//! ```text
//! #3 [2/5] RUN make
//! #3 cc main.c
//! #3 DONE 12.0s
//! ```

use std::collections::HashMap;

use garden_build::{Event, Printable, StepId};
use indicatif::DecimalBytes;

use super::screen::seconds;
use super::text::labelled;

/// Makes lines of events. What belongs to a step begins with its number, as steps run beside each other.
#[derive(Debug)]
pub(crate) struct PlainLines {
    labels: Vec<Option<String>>,
    numbers: HashMap<(usize, StepId), usize>,
    /// How many tenths of a step were shown.
    tenths: HashMap<usize, u64>,
    is_cancelled: bool,
}

impl PlainLines {
    pub(crate) fn new(labels: Vec<Option<String>>) -> Self {
        Self { labels, numbers: HashMap::new(), tenths: HashMap::new(), is_cancelled: false }
    }

    /// What ends without success from now on was cancelled.
    pub(crate) fn cancelled(&mut self) {
        self.is_cancelled = true;
    }

    /// Returns what an event of the one with this number is worth.
    pub(crate) fn lines(&mut self, number: usize, event: &Event) -> Vec<String> {
        let label = self.labels.get(number).cloned().flatten();
        let text = match event {
            Event::StepStarted { step, name, .. } => {
                format!("#{} {}", self.number(number, *step), labelled(label.as_deref(), &line(name)))
            }
            Event::StepFinished { step, took, cached, error, .. } => {
                let (step, took) = (self.number(number, *step), seconds(*took));
                match error {
                    Some(_) if self.is_cancelled => format!("#{step} CANCELLED {took}"),
                    Some(error) => format!("#{step} ERROR {took}: {}", Printable::lines(error)),
                    None if *cached => format!("#{step} CACHED {took}"),
                    None => format!("#{step} DONE {took}"),
                }
            }
            Event::Log { step: Some(step), line: text, .. } => {
                format!("#{} {}", self.number(number, *step), line(text))
            }
            Event::Progress { step, current, total, .. } => {
                let step = self.number(number, *step);
                return self.progress(step, *current, *total).into_iter().collect();
            }
            // The library has the words for what belongs to no step.
            event => labelled(label.as_deref(), &event.to_string()),
        };
        text.lines().map(str::to_owned).collect()
    }

    /// Steps are counted as they come, as the numbers of several builds are the same.
    fn number(&mut self, of: usize, step: StepId) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry((of, step)).or_insert(next)
    }

    /// Where the total is known, each tenth is worth a line.
    fn progress(&mut self, step: usize, current: u64, total: Option<u64>) -> Option<String> {
        let Some(total) = total else { return Some(format!("#{step} {}", DecimalBytes(current))) };
        let tenths = u128::from(current.min(total)) * 10;
        let tenths = u64::try_from(tenths.checked_div(u128::from(total)).unwrap_or(10)).unwrap_or(10);
        let shown = self.tenths.insert(step, tenths).unwrap_or(0);
        (tenths > shown).then(|| {
            format!("#{step} {}% ({} / {})", tenths * 10, DecimalBytes(current), DecimalBytes(total))
        })
    }
}

fn line(text: &str) -> String {
    Printable::line(text).to_string()
}

#[cfg(test)]
mod tests;
