//! What a build is at, and how long its steps took: for who has to say why it did not end in time.

use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Event, LogSource, StepId};

/// How many of the finished steps a message names: the longest ones.
const MOST_DONE: usize = 6;

/// How many of the steps under way a message names: those that began last, as others may only contain them.
const MOST_UNDER_WAY: usize = 3;

/// How many steps that are under way are known of. What is built decides how many there are.
const MOST_KNOWN: usize = 1000;

/// A step that took less is not named.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// The longest name, and the longest word, in characters.
const LONGEST: usize = 160;

/// The steps of a build so far.
#[derive(Default, Debug)]
pub(crate) struct Phases {
    under_way: Vec<UnderWay>,
    /// In the order in which they ended.
    done: Vec<(String, Duration)>,
    /// The step that ended last, and when.
    last: Option<(String, Instant)>,
}

#[derive(Debug)]
struct UnderWay {
    step: StepId,
    name: String,
    since: Instant,
    /// What was said of it last, such as what it waits for.
    said: Option<String>,
}

impl Phases {
    /// Whether an event tells something about them.
    pub(crate) fn concerns(event: &Event) -> bool {
        match event {
            Event::StepStarted { .. } | Event::StepFinished { .. } => true,
            Event::Log { step, source, .. } => step.is_some() && *source == LogSource::Builder,
            _ => false,
        }
    }

    /// Takes in what happened just now.
    pub(crate) fn note(&mut self, event: &Event) {
        match event {
            Event::StepStarted { step, name, .. } => {
                let (step, name) = (*step, shortened(name));
                if self.under_way.len() < MOST_KNOWN {
                    self.under_way.push(UnderWay { step, name, since: Instant::now(), said: None });
                }
            }
            Event::Log { step: Some(step), line, .. } => {
                if let Some(known) = self.under_way.iter_mut().find(|known| known.step == *step) {
                    known.said = Some(shortened(line));
                }
            }
            Event::StepFinished { step, .. } => {
                if let Some(position) = self.under_way.iter().position(|known| known.step == *step) {
                    let ended = self.under_way.remove(position);
                    self.last = Some((ended.name.clone(), Instant::now()));
                    self.keep(ended.name, ended.since.elapsed());
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, name: String, took: Duration) {
        if took < WORTH_TELLING {
            return;
        }
        self.done.push((name, took));
        if self.done.len() > MOST_DONE {
            let shortest = (0..self.done.len()).min_by_key(|position| self.done[*position].1);
            if let Some(position) = shortest {
                self.done.remove(position);
            }
        }
    }

    /// Describes what is under way, after what: "`start Pod a/b` was under way for 540 s (waiting for a node), after `prepare Namespace a`
    /// (55 s)"; or what was done last, if nothing has begun since. `None` if nothing is known.
    pub(crate) fn account(&self) -> Option<String> {
        let told = self.under_way.iter().rev().take(MOST_UNDER_WAY).enumerate().map(|(position, step)| {
            let was = if position == 0 { " was under way" } else { "" };
            let said = step.said.as_ref().map(|said| format!(" ({said})")).unwrap_or_default();
            format!("`{}`{was} for {} s{said}", step.name, step.since.elapsed().as_secs())
        });
        let told = told.collect::<Vec<_>>().join(", ");
        let done = self.done.iter().map(|(name, took)| format!("`{name}` ({} s)", took.as_secs()));
        let done = done.collect::<Vec<_>>().join(", ");
        if !told.is_empty() {
            return Some(if done.is_empty() { told } else { format!("{told}, after {done}") });
        }
        let (name, ended) = self.last.as_ref()?;
        let silent = format!("`{name}` was done last, {} s before", ended.elapsed().as_secs());
        Some(if done.is_empty() { silent } else { format!("{silent}; what took longest was {done}") })
    }
}

/// The first line of a text, or its beginning.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.trim_end().len() && line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    let beginning: String = line.chars().take(LONGEST).collect();
    format!("{beginning}…")
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::{StepKind, event_channel};

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_told_with_its_last_word_and_after_what() {
        let (events, _stream) = event_channel();
        assert_eq!(events.account(), None);
        events.step(StepKind::LookUp, "look for r.example/a:1").cached();
        advance(Duration::from_secs(5)).await;
        assert_eq!(events.account().as_deref(), Some("`look for r.example/a:1` was done last, 5 s before"));
        let step = events.step(StepKind::Prepare, "prepare Namespace demo");
        advance(Duration::from_secs(55)).await;
        step.done();
        let step = events.step(StepKind::Wait, "start Pod demo/kaniko-a-1");
        step.log(LogSource::Builder, "waiting for the cluster");
        step.log(LogSource::Builder, "waiting for a node");
        step.log(LogSource::Output, "what a command prints tells nothing");
        let sending = events.step(StepKind::Upload, "send 1 file");
        advance(Duration::from_secs(540)).await;
        let expected = "`send 1 file` was under way for 540 s, `start Pod demo/kaniko-a-1` for 540 s (waiting for a node), after \
                        `prepare Namespace demo` (55 s)";
        assert_eq!(events.account().as_deref(), Some(expected));
        drop((step, sending));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_build_keeps_its_longest_steps_only() {
        let (events, _stream) = event_channel();
        for seconds in 1..=100 {
            let step = events.step(StepKind::Other, format!("RUN {seconds}\nand more"));
            advance(Duration::from_secs(seconds)).await;
            step.done();
        }
        let account = events.account().expect("an account");
        let start = "`RUN 100…` was done last, 0 s before; what took longest was `RUN 95…` (95 s), ";
        assert!(account.starts_with(start), "{account}");
        assert!(account.ends_with("`RUN 100…` (100 s)"), "{account}");
    }
}
