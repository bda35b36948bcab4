//! Shows a build's events as they happen: on a terminal with a line at the bottom that moves.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use garden_build::{Event, StepId, Stream};
use indicatif::{ProgressBar, ProgressStyle};

pub(super) struct Display {
    bar: ProgressBar,
    started: HashMap<StepId, Instant>,
}

impl Display {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, started: HashMap::new() }
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::StepStarted { step, name } => {
                self.started.insert(*step, Instant::now());
                self.bar.set_message(short(name));
                self.line(&format!("=> {}", short(name)));
            }
            Event::StepFinished { step, name, cached, error } => {
                let seconds = self.started.remove(step).map_or(0.0, |start| start.elapsed().as_secs_f64());
                let end = match (error, cached) {
                    (Some(error), _) => format!("FAILED: {error}"),
                    (None, true) => "cached".to_owned(),
                    (None, false) => format!("done in {seconds:.2} s"),
                };
                self.line(&format!("=> {}: {end}", short(name)));
            }
            Event::Progress { current, total, .. } => {
                let total = total.map_or_else(String::new, |total| format!(" of {total}"));
                self.bar.set_message(format!("{current}{total} bytes"));
            }
            // The builder's own remarks are for those who look for a fault.
            Event::Log { stream: Stream::Builder, .. } => {}
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
