//! Who reads a context, each in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use garden_test_programs::{DOCKERIGNORE_ORACLE, Go};
use serde::Deserialize;
use serde_json::json;

use super::process::{self, Needed, Reports};
use super::reading::Work;
use super::workload;

pub(super) use super::reading::files;

/// What is to be read, and where what is learnt may be kept.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) directory: PathBuf,
    pub(super) state: PathBuf,
}

/// What it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Took {
    /// Seconds without the start of the process, where that is known.
    pub(super) inside: f64,
    pub(super) needed: Needed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Ours,
    /// All processors read the same bytes and digest them, and do nothing else.
    RawRead,
    /// All processors ask for the metadata of the same files, whose paths they know.
    RawStat,
    /// `git add -A` of what is new, `git status` of what is not.
    Git,
    Tar,
    /// Ours makes a compressed archive.
    OursPacked,
    TarGzip,
    TarPigz,
    /// The walk of `BuildKit`'s client with moby's matcher, which digests nothing.
    Go,
}

/// What processes of ours, and the Go program, say of themselves.
#[derive(Debug, Deserialize)]
struct Answer {
    seconds: f64,
    count: u32,
}

impl Reader {
    /// Whether it is compared with ours for files that are new, or for those that have not changed.
    pub(super) fn is_compared(self, is_new: bool) -> bool {
        match self {
            Self::RawStat | Self::Go => !is_new,
            Self::Ours | Self::Git => true,
            Self::RawRead | Self::Tar | Self::OursPacked | Self::TarGzip | Self::TarPigz => is_new,
        }
    }

    /// Whether it is a part of this program, so that the starts of processes need not be compared.
    pub(super) fn is_ours_too(self) -> bool {
        matches!(self, Self::Ours | Self::OursPacked | Self::RawRead | Self::RawStat)
    }

    /// Returns what a reader should know it by.
    pub(super) fn describe(self) -> Result<String> {
        Ok(match self {
            Self::Ours | Self::OursPacked => "garden-build".to_owned(),
            Self::RawRead => "parallel read and SHA-256".to_owned(),
            Self::RawStat => "parallel stat".to_owned(),
            Self::Git => {
                let output = Command::new("git").arg("--version").output()?;
                String::from_utf8(output.stdout)?.trim().replace("version ", "")
            }
            Self::Tar => "tar \\| sha256sum".to_owned(),
            Self::TarGzip => "tar \\| gzip -1".to_owned(),
            Self::TarPigz => "tar \\| pigz -1".to_owned(),
            Self::Go => "Go: fsutil and patternmatcher".to_owned(),
        })
    }

    pub(super) fn read(self, job: &Job) -> Result<Took> {
        let mut answer = None;
        let mut command = self.command(job)?;
        let needed = process::run(&mut command, &[], Reports::OnOutput, |line| {
            answer = serde_json::from_str::<Answer>(line).ok();
        })?;
        Ok(Took { inside: answer.map_or(needed.seconds, |answer| answer.seconds), needed })
    }

    fn command(self, job: &Job) -> Result<Command> {
        let Job { directory, state } = job;
        Ok(match self {
            Self::Ours => Work::Scan.command(directory, &state.join("digests"), 1)?,
            Self::OursPacked => Work::Pack.command(directory, &state.join("digests"), 1)?,
            Self::RawRead => Work::Read.command(directory, state, 1)?,
            Self::RawStat => Work::Stat.command(directory, state, 1)?,
            Self::Git => {
                let repository = state.join("git");
                let is_new = !repository.exists();
                if is_new {
                    let made =
                        Command::new("git").args(["init", "-q", "--bare"]).arg(&repository).status()?;
                    ensure!(made.success(), "git init failed");
                }
                let mut command = Command::new("git");
                command.arg("--git-dir").arg(&repository).arg("--work-tree").arg(directory);
                // Otherwise git looks for what it could pack, in a process that outlives it.
                command.args(["-c", "gc.auto=0", "-c", "core.bare=false"]);
                command.args(if is_new { ["add", "-A"] } else { ["status", "--short"] });
                command
            }
            Self::Tar => tar_into("sha256sum", directory),
            Self::TarGzip => tar_into("gzip -1 > /dev/null", directory),
            Self::TarPigz => tar_into("pigz -1 > /dev/null", directory),
            Self::Go => {
                let mut command = Command::new(oracle()?);
                command.arg("time-walk").arg(directory);
                command
            }
        })
    }

    /// Matches the rules of [`workload::RULES`] against [`workload::paths`]. Returns nanoseconds for each path.
    pub(super) fn match_rules(self) -> Result<f64> {
        let directory = tempfile::tempdir()?;
        let paths = workload::paths();
        let (mut command, question) = if self == Self::Ours {
            (Work::Match.command(directory.path(), directory.path(), RULE_ROUNDS)?, String::new())
        } else {
            let mut command = Command::new(oracle()?);
            command.arg("time-filter").arg(RULE_ROUNDS.to_string());
            let kind = |is_directory| if is_directory { "directory" } else { "file" };
            let paths =
                paths.iter().map(|(path, is_directory)| json!({"path": path, "kind": kind(*is_directory)}));
            let paths: Vec<_> = paths.collect();
            (command, json!({"patterns_text": workload::RULES, "paths": paths}).to_string())
        };
        let mut answer = None;
        process::run(&mut command, question.as_bytes(), Reports::OnOutput, |line| {
            answer = serde_json::from_str::<Answer>(line).ok();
        })?;
        let answer = answer.context("no answer")?;
        let expected = super::reading::kept();
        ensure!(answer.count == u32::try_from(expected)?, "{} are kept, not {expected}", answer.count);
        Ok(answer.seconds * 1e9 / f64::from(RULE_ROUNDS) / f64::from(u32::try_from(paths.len())?))
    }

    /// Counts the instructions of reading `job` once more. Ours and what is ours too only.
    pub(super) fn instructions(self, job: &Job) -> Result<f64> {
        let work = if self == Self::Ours { Work::Scan } else { Work::Stat };
        let state = job.state.join("digests");
        Ok((count(&work.command(&job.directory, &state, 3)?)?
            - count(&work.command(&job.directory, &state, 1)?)?)
            / 2.0)
    }
}

fn tar_into(reader: &str, directory: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("tar -C \"$0\" -cf - . | {reader}")).arg(directory);
    command
}

const RULE_ROUNDS: u32 = 20;

/// Counts the instructions that ignore rules take for each path.
pub(super) fn rule_instructions() -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let count = |rounds| count(&Work::Match.command(directory.path(), directory.path(), rounds)?);
    Ok((count(3)? - count(1)?) / 2.0 / f64::from(u32::try_from(workload::paths().len())?))
}

/// Makes sure that all are there.
pub(super) fn prepare() -> Result<()> {
    oracle().map(drop)
}

/// Counts the instructions of a process and its threads, those of the kernel not.
fn count(command: &Command) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(command.get_program())
        .args(command.get_args())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.with_context(|| format!("callgrind counted nothing: {said}"))?;
    Ok(count.trim().parse()?)
}

/// Builds the Go program. Returns where it is.
fn oracle() -> Result<PathBuf> {
    Ok(Go::on_path()?.build(&DOCKERIGNORE_ORACLE)?.join(DOCKERIGNORE_ORACLE.name))
}
