//! Shows a build's events as they happen: on a terminal with a line at the bottom that moves.

use std::time::Duration;

use garden_build::{Event, LogSource};
use indicatif::{ProgressBar, ProgressStyle};

pub(super) struct Display {
    bar: ProgressBar,
}

impl Display {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    pub(super) fn show(&self, event: &Event) {
        match event {
            Event::StepStarted { name, .. } => {
                self.bar.set_message(short(name));
                self.line(&format!("=> {}", short(name)));
            }
            Event::StepFinished { name, took, cached, error, .. } => {
                let end = match (error, cached) {
                    (Some(error), _) => format!("FAILED: {error}"),
                    (None, true) => "cached".to_owned(),
                    (None, false) => format!("done in {:.2} s", took.as_secs_f64()),
                };
                self.line(&format!("=> {}: {end}", short(name)));
            }
            Event::Progress { .. } => self.bar.set_message(event.to_string()),
            // The builder's own remarks are for those who look for a fault.
            Event::Log { source: LogSource::Builder, .. } => {}
            other => self.line(&other.to_string()),
        }
    }

    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }

    /// indicatif prints nothing at all where there is no terminal.
    fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            println!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}

/// One line of a terminal has no room for a whole RUN instruction.
fn short(name: &str) -> String {
    const LONGEST: usize = 90;
    match name.char_indices().nth(LONGEST) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}
