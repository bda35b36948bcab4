//! Builds of the same directories by us and by a peer, in turns.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::process::Needed;
use super::report::{Report, Side};
use super::{Interrupt, workload};

/// The daemon's name for the step in which it is sent the build context.
/// Source: `BuildKit`, `frontend/dockerui/config.go`, `MainContext`.
const LOAD_CONTEXT: &str = "[internal] load build context";

/// How the name of our own step begins in which kaniko's context service is sent the build context.
const SEND_CONTEXT: &str = "send the build context";

/// What our side is to do. The peer always builds: it cannot do anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// Build what must not exist.
    Build,
    /// Build without asking whether it exists.
    BuildAnyway,
    /// Build what exists.
    FindBuilt,
    /// Say whether it exists, which it must.
    Ask,
}

/// One build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) directory: PathBuf,
    /// The repository, below what is each side's own.
    pub(super) repository: String,
    /// The peer's tag; ours is made from the content.
    pub(super) tag: String,
    pub(super) ours: Task,
    pub(super) registry_cache: bool,
}

impl Request {
    /// A build that ours must not find done.
    pub(super) fn new(directory: &Path, repository: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            repository: repository.to_owned(),
            tag: "latest".to_owned(),
            ours: Task::Build,
            registry_cache: false,
        }
    }
}

/// How a build went.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) needed: Needed,
    /// What a program needs that uses the library, in seconds. Only ours is one.
    pub(super) in_process: Option<f64>,
    /// See [`ContextClock`].
    pub(super) context: Option<f64>,
    /// Seconds until the builder's pod asked for the context. Only kaniko's does.
    pub(super) asked_for_context: Option<f64>,
}

impl Built {
    /// What is known of a peer's build, which is a process.
    pub(super) fn by_peer(needed: Needed, context: Option<f64>) -> Self {
        Self { needed, in_process: None, context, asked_for_context: None }
    }
}

/// Measures the step that loads the build context, by when the daemon's reports arrive: our events
/// have no times of the daemon's. The daemon runs the step twice, first only to look at it: the last
/// run counts. The same rule is used for both sides.
#[derive(Debug, Default)]
pub(super) struct ContextClock {
    run: Option<(String, Instant)>,
    ended: Option<f64>,
}

impl ContextClock {
    /// Takes a report that a step runs; `run` tells its runs apart.
    pub(super) fn started(&mut self, step: &str, run: &str) {
        if is_context(step) && self.run.as_ref().is_none_or(|(known, _)| known != run) {
            self.run = Some((run.to_owned(), Instant::now()));
            self.ended = None;
        }
    }

    /// Takes a report that a step has ended.
    pub(super) fn completed(&mut self, step: &str) {
        if let Some((_, started)) = self.run.as_ref().filter(|_| is_context(step)) {
            self.ended.get_or_insert(started.elapsed().as_secs_f64());
        }
    }

    pub(super) fn seconds(&self) -> Option<f64> {
        self.ended
    }
}

fn is_context(step: &str) -> bool {
    step == LOAD_CONTEXT || step.starts_with(SEND_CONTEXT)
}

/// What is taken from a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// The whole process, from its start to its end.
    Whole,
    /// The same; ours without its process, as a program sees it that uses the library.
    Library,
    Context,
    PeakMemory,
}

/// We and the peer, each with a daemon of its own.
pub(super) trait Sides {
    /// Has one side build.
    fn build(&self, side: Side, request: &Request) -> Result<Built>;

    /// Makes both daemons start from nothing.
    fn forget(&mut self) -> Result<()>;
}

/// What is measured of two sides.
pub(super) struct Contest<S> {
    pub(super) sides: S,
    pub(super) report: Report,
    pub(super) rounds: u32,
    interrupt: Interrupt,
}

impl<S: Sides> Contest<S> {
    pub(super) fn new(sides: S, peer: String, rounds: u32, interrupt: Interrupt) -> Self {
        Self { sides, report: Report::new(peer), rounds, interrupt }
    }

    /// Measures what `what` describes in a few words: all new, unchanged, and with `file` changed.
    pub(super) fn cold_unchanged_changed(&mut self, what: &str, directory: &Path, file: &str) -> Result<()> {
        use Figure::{Context, Library, PeakMemory, Whole};
        for round in 0..self.rounds {
            let repository =
                format!("{}-{round}", what.replace([' ', ','], "-").replace("--", "-").to_lowercase());
            let first = Request::new(directory, &repository);
            self.forget()?;
            self.both(round, &format!("{what}, cold"), &first, &[Whole, Context, PeakMemory])?;
            let unchanged = Request { ours: Task::FindBuilt, ..first.clone() };
            self.both(round, &format!("{what}, unchanged"), &unchanged, &[Whole, Library, PeakMemory])?;
            let asked = Request { ours: Task::Ask, ..first.clone() };
            self.both(
                round,
                &format!("{what}, unchanged, only asked (`Builder::status`)"),
                &asked,
                &[Library],
            )?;
            let forced = Request { ours: Task::BuildAnyway, ..first.clone() };
            self.both(round, &format!("{what}, unchanged, built anyway"), &forced, &[Whole, Context])?;
            workload::change(&directory.join(file), round)?;
            let changed = Request { tag: "changed".to_owned(), ..first };
            self.both(round, &format!("{what}, one changed"), &changed, &[Whole, Context])?;
        }
        Ok(())
    }

    /// Makes both daemons start from nothing, unless somebody wants the bench to end.
    pub(super) fn forget(&mut self) -> Result<()> {
        self.interrupt.check()?;
        self.sides.forget()
    }

    /// Has both sides build the same, one after the other. Returns how ours went.
    pub(super) fn both(
        &mut self,
        round: u32,
        case: &str,
        request: &Request,
        figures: &[Figure],
    ) -> Result<Built> {
        let (mut ours, mut theirs) = (None, None);
        for side in Side::turns(round) {
            self.interrupt.check()?;
            let built = self.sides.build(side, request);
            let built = built.with_context(|| format!("{case}, round {}, {side:?}", round + 1))?;
            for figure in figures {
                self.record(side, case, *figure, &built);
            }
            match side {
                Side::Ours => ours = Some(built),
                Side::Theirs => theirs = Some(built),
            }
        }
        let (ours, theirs) = ours.zip(theirs).context("a side was not measured")?;
        let which = format!("round {} of {}: {case}", round + 1, self.rounds);
        println!("{which}: {:.2} s, theirs {:.2} s", ours.needed.seconds, theirs.needed.seconds);
        Ok(ours)
    }

    fn record(&mut self, side: Side, case: &str, figure: Figure, built: &Built) {
        let Needed { seconds, peak_memory } = built.needed;
        let (what, unit, value) = match figure {
            Figure::Whole => ("", "s", Some(seconds)),
            Figure::Library => (": as a library", "s", Some(built.in_process.unwrap_or(seconds))),
            Figure::Context => (": context", "s", built.context),
            Figure::PeakMemory => (": peak memory of the client", "MiB", Some(peak_memory)),
        };
        if let Some(value) = value {
            self.report.record(&format!("{case}{what}"), unit, side, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_of_the_step_counts() {
        let mut clock = ContextClock::default();
        clock.started("[1/2] FROM scratch", "0");
        clock.completed("[1/2] FROM scratch");
        assert_eq!(clock.seconds(), None);
        clock.started(LOAD_CONTEXT, "1");
        clock.completed(LOAD_CONTEXT);
        let looked = clock.seconds().expect("measured");
        clock.completed(LOAD_CONTEXT);
        assert_eq!(clock.seconds(), Some(looked), "the end is reported again");
        clock.started(LOAD_CONTEXT, "2");
        assert_eq!(clock.seconds(), None);
        clock.completed(LOAD_CONTEXT);
        assert!(clock.seconds().is_some());
    }
}
