//! What a process of ours does in a bench of contexts.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use garden_build::BuildRequest;
use garden_build_core::context::{Context, DigestCache, IgnoreRules};
use garden_kaniko::pack::{KnownPacks, Plan};
use sha2::{Digest as _, Sha256};

use super::workload;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Work {
    /// Scans the directory as a build does.
    Scan,
    /// Scans it, and makes the compressed archive of it that a service is sent which has nothing.
    Pack,
    /// Reads and digests all files, whose paths are known.
    Read,
    /// Asks for the metadata of all files, whose paths are known.
    Stat,
    /// Matches ignore rules.
    Match,
}

/// What is to be done how often.
#[derive(Debug, Args)]
pub(crate) struct Task {
    work: Work,
    directory: PathBuf,
    state: PathBuf,
    rounds: u32,
}

impl Work {
    /// Returns the command that does it in a process of its own.
    pub(super) fn command(self, directory: &Path, state: &Path, rounds: u32) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        let work = self.to_possible_value().context("no name")?;
        command
            .args(["bench", "one-reading", work.get_name()])
            .arg(directory)
            .arg(state)
            .arg(rounds.to_string());
        Ok(command)
    }
}

/// Does it, and says how long it took and how much it was.
pub(super) fn work(task: &Task) -> Result<()> {
    let files =
        if task.work == Work::Stat || task.work == Work::Read { files(&task.directory)? } else { Vec::new() };
    let paths = if task.work == Work::Match { workload::paths() } else { Vec::new() };
    let cache = DigestCache::in_directory(&task.state);
    let started = Instant::now();
    let mut count = 0;
    for _ in 0..task.rounds {
        count = match task.work {
            Work::Scan => scan(&task.directory, &cache)?.manifest().file_count(),
            Work::Pack => {
                let context = scan(&task.directory, &cache)?;
                Plan::of(&context, &KnownPacks::new()).write(&mut io::sink(), &|| false, &mut |_| {})?;
                context.manifest().file_count()
            }
            Work::Read => in_parallel(&files, read)?,
            Work::Stat => in_parallel(&files, |path, _| {
                black_box(fs::symlink_metadata(path)?);
                Ok(())
            })?,
            Work::Match => kept_of(&paths)?,
        };
    }
    println!("{}", serde_json::json!({"seconds": started.elapsed().as_secs_f64(), "count": count}));
    Ok(())
}

fn scan(directory: &Path, cache: &DigestCache) -> Result<Context> {
    Ok(Context::scan_with(&BuildRequest::new("bench", directory), cache, &|| false)?)
}

/// How many of the paths are kept.
pub(super) fn kept() -> usize {
    kept_of(&workload::paths()).unwrap_or_default()
}

fn kept_of(paths: &[(String, bool)]) -> Result<usize> {
    let rules = IgnoreRules::parse(".dockerignore", workload::RULES.as_bytes())?;
    Ok(rules.kept(paths.iter().map(|(path, is_directory)| (path.as_str(), *is_directory))).len())
}

/// Returns the paths of all files, in the order of a walk.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut entries = fs::read_dir(directory)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            files.extend(self::files(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// Does `each` with all files, on all processors, and returns how many they are.
fn in_parallel(files: &[PathBuf], each: impl Fn(&Path, &mut [u8]) -> Result<()> + Sync) -> Result<usize> {
    const PIECE: usize = 64;
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let mut buffer = vec![0; 128 * 1024];
        while let Some(piece) = files.chunks(PIECE).nth(next.fetch_add(1, Ordering::Relaxed)) {
            piece.iter().try_for_each(|path| each(path, &mut buffer))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a defect of the bench"))
    })?;
    Ok(files.len())
}

fn read(path: &Path, buffer: &mut [u8]) -> Result<()> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    loop {
        let length = file.read(buffer)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
    }
    black_box(hasher.finalize());
    Ok(())
}
