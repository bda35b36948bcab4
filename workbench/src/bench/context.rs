//! The build context: what finding and digesting its files takes, next to what others need for the same.
//!
//! Everybody works on the same directories, in turns, each time in a process of its own whose memory is seen from
//! outside. Files are in the machine's page cache for all; "new" means that nobody knows anything of them yet.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use tempfile::TempDir;

use super::reader::{Job, Reader, Took};
use super::report::{self, Report, Side};
use super::workload::{self, Content};
use super::{Interrupt, Options, reader};
use crate::testbed;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// 20 000 files with 200 MB.
    Tree,
    /// 200 000 files with 200 MB.
    Many,
    /// A million files with next to nothing in them.
    Million,
    /// One file of 4 GB.
    Large,
    /// 24 000 files of a project, and 60 000 of its dependencies, which `.dockerignore` excludes.
    Ignored,
    /// A compressed archive of 20 000 files with 200 MB, of bytes that do not compress and of text.
    Archive,
    /// Nothing but ignore rules, on paths that are no files.
    Rules,
    /// How many instructions the same takes: figures that do not depend on what else the machine does.
    Instructions,
}

/// The caches take no file for settled that is younger than this.
const SETTLED: Duration = Duration::from_secs(3);

pub(super) fn run(options: &Options<Case>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let interrupt = Interrupt::listen(&runtime)?;
    reader::prepare()?;
    let mut bench = Bench { rounds: options.rounds, interrupt, reports: Vec::new() };
    for case in options.chosen() {
        bench.case(case)?;
    }
    let reports: Vec<Report> = bench.reports.into_iter().map(|(_, report)| report).collect();
    report::publish("context", &reports)
}

struct Bench {
    rounds: u32,
    interrupt: Interrupt,
    reports: Vec<(Reader, Report)>,
}

impl Bench {
    fn case(&mut self, case: Case) -> Result<()> {
        use Reader::{Git, Go, RawRead, RawStat, Tar};
        match case {
            Case::Tree => self.new_and_unchanged(
                "20 000 files",
                &workload::tree(Content::Noise)?,
                &[RawRead, RawStat, Git, Tar, Go],
            ),
            Case::Many => {
                self.new_and_unchanged("200 000 files", &workload::many()?, &[RawRead, RawStat, Git, Tar, Go])
            }
            Case::Million => {
                self.new_and_unchanged("1 000 000 files", &workload::million()?, &[RawRead, RawStat])
            }
            Case::Large => {
                self.new_and_unchanged("one file of 4 GB", &workload::large()?, &[RawRead, Git, Tar])
            }
            Case::Ignored => self.new_and_unchanged(
                "24 000 files, and 60 000 ignored",
                &workload::ignored()?,
                &[RawStat, Go],
            ),
            Case::Archive => self.archives(),
            Case::Rules => self.rules(),
            Case::Instructions => self.instructions(),
        }
    }

    /// Has everybody read `directory` when it is new to them, and once more when nothing has changed. Who has no
    /// memory of it is measured with ours that has none, or ours that has one, as fits.
    fn new_and_unchanged(&mut self, what: &str, directory: &TempDir, peers: &[Reader]) -> Result<()> {
        thread::sleep(SETTLED);
        for round in 0..self.rounds {
            let state = tempfile::tempdir()?;
            let job = Job { directory: directory.path().to_owned(), state: state.path().to_owned() };
            for (kind, is_new) in [("new", true), ("unchanged", false)] {
                let compared = peers.iter().copied().filter(|peer| peer.is_compared(is_new)).collect();
                self.round(&format!("{what}, {kind}"), round, &job, Reader::Ours, compared)?;
            }
        }
        Ok(())
    }

    /// Has everybody make a compressed archive of what is new to them.
    fn archives(&mut self) -> Result<()> {
        testbed::install_peer("pigz")?;
        for (what, content) in [("20 000 files", Content::Noise), ("20 000 source files", Content::Source)] {
            let directory = workload::tree(content)?;
            for round in 0..self.rounds {
                let state = tempfile::tempdir()?;
                let job = Job { directory: directory.path().to_owned(), state: state.path().to_owned() };
                let peers = vec![Reader::TarGzip, Reader::TarPigz];
                self.round(&format!("{what}, compressed archive"), round, &job, Reader::OursPacked, peers)?;
            }
        }
        Ok(())
    }

    /// Has `our` side and all `peers` do a job once. Who begins changes from round to round.
    fn round(&mut self, case: &str, round: u32, job: &Job, our: Reader, peers: Vec<Reader>) -> Result<()> {
        let mut turns = [vec![our], peers].concat();
        let turn_count = turns.len();
        turns.rotate_left(round as usize % turn_count);
        let mut took = Vec::new();
        for reader in turns {
            self.interrupt.check()?;
            let one = reader.read(job).with_context(|| format!("{case}, {reader:?}"))?;
            took.push((reader, one));
        }
        let ours = took.iter().find(|(reader, _)| *reader == our).map(|(_, took)| *took);
        let ours = ours.context("ours was not measured")?;
        for (peer, theirs) in took.into_iter().filter(|(reader, _)| *reader != our) {
            self.record(case, peer, ours, theirs)?;
        }
        println!("round {} of {}: {case}: {:.3} s", round + 1, self.rounds, ours.inside);
        Ok(())
    }

    fn record(&mut self, case: &str, peer: Reader, ours: Took, theirs: Took) -> Result<()> {
        let report = self.report(peer)?;
        let seconds = |took: Took| if peer.is_ours_too() { took.inside } else { took.needed.seconds };
        report.record_both(case, "s", seconds(ours), seconds(theirs));
        let memory = |took: Took| took.needed.peak_memory;
        report.record_both(&format!("{case}: peak memory"), "MiB", memory(ours), memory(theirs));
        Ok(())
    }

    fn rules(&mut self) -> Result<()> {
        for round in 0..self.rounds {
            for side in Side::turns(round) {
                self.interrupt.check()?;
                let reader = if side == Side::Ours { Reader::Ours } else { Reader::Go };
                let nanoseconds = reader.match_rules()?;
                self.report(Reader::Go)?.record("ignore rules, for each path", "ns", side, nanoseconds);
            }
        }
        Ok(())
    }

    /// Counts what one scan more takes than none, of files that have not changed.
    fn instructions(&mut self) -> Result<()> {
        testbed::install_peer("valgrind")?;
        let directory = workload::tree(Content::Noise)?;
        thread::sleep(SETTLED);
        let state = tempfile::tempdir()?;
        let job = Job { directory: directory.path().to_owned(), state: state.path().to_owned() };
        Reader::Ours.read(&job)?;
        for (side, reader) in [(Side::Ours, Reader::Ours), (Side::Theirs, Reader::RawStat)] {
            let count = reader.instructions(&job)? / file_count(directory.path())?;
            let report = self.report(Reader::RawStat)?;
            report.record("20 000 files, unchanged: instructions for each", "", side, count);
        }
        let count = reader::rule_instructions()?;
        println!("ignore rules: {count:.0} instructions for each path");
        Ok(())
    }

    fn report(&mut self, peer: Reader) -> Result<&mut Report> {
        let known = self.reports.iter().position(|(known, _)| *known == peer);
        let index = known.unwrap_or(self.reports.len());
        if known.is_none() {
            self.reports.push((peer, Report::new(peer.describe()?)));
        }
        Ok(&mut self.reports[index].1)
    }
}

fn file_count(directory: &Path) -> Result<f64> {
    Ok(f64::from(u32::try_from(reader::files(directory)?.len())?))
}
