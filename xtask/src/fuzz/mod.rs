//! `cargo xtask fuzz`: runs the fuzz targets, one after the other; and the few seconds of them that are a part of `cargo xtask test`.
//!
//! The engine is libFuzzer, of which the crate `libfuzzer-sys` brings the source. A stable compiler does for it: only its sanitizers need a
//! nightly one, and there is no `unsafe` code for them to watch.

mod build;
mod short;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use garden_test_programs::cache_directory;

use crate::cargo::succeed;
use build::Build;

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub struct Options {
    /// The targets; all of them, if none is named.
    targets: Vec<String>,
    /// How many seconds each of them runs.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Run one target on this file alone, which a fuzzer has found.
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    input: Option<PathBuf>,
    /// Run what `cargo xtask test` runs: the most important targets, ten seconds each.
    #[arg(long, conflicts_with_all = ["targets", "seconds", "input"])]
    short: bool,
}

/// No input has to take longer, in seconds.
const LONGEST: u32 = 10;

/// How much memory a target may take, in mebibytes.
const MEMORY: u32 = 1024;

/// Ten times the longest seed.
const LONGEST_INPUT: u32 = 64 * 1024;

/// Builds the targets and runs them. What they find is kept in `fuzz/artifacts`, and what leads somewhere new in the
/// cache directory.
///
/// # Errors
/// At the first target that finds something.
pub fn run(options: &Options) -> Result<()> {
    if options.short {
        return short::run();
    }
    let known = targets()?;
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no fuzz target `{unknown}`; there are {}", known.join(", "));
    }
    let chosen = if options.targets.is_empty() { &known } else { &options.targets };
    if let Some(input) = &options.input {
        let [target] = &chosen[..] else {
            bail!("name the one target that is to run on {}", input.display())
        };
        let program = build::build(&[target], Build::Quick)?.program(target);
        return succeed(Command::new(program).arg(input), &format!("the fuzz target {target}"));
    }
    let built = build::build(&chosen.iter().map(String::as_str).collect::<Vec<_>>(), Build::Thorough)?;
    for target in chosen {
        println!("\n=== {target}: {} s", options.seconds);
        let mut command = command(&built.program(target), target, options.seconds, LONGEST)?;
        succeed(&mut command, &format!("the fuzz target {target}"))?;
    }
    Ok(())
}

/// Returns a command that runs one target from where earlier runs of it have come.
fn command(program: &Path, target: &str, seconds: u32, longest: u32) -> Result<Command> {
    let corpus = cache_directory()?.join("fuzz").join(target);
    let artifacts = directory().join("artifacts").join(target);
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    let mut command = Command::new(program);
    command.args([&corpus, &directory().join("seeds").join(target)]);
    let dictionary = directory().join("dictionaries").join(format!("{target}.dict"));
    if dictionary.exists() {
        command.arg(option("-dict=", &dictionary));
    }
    // Files of what is found begin with this, and libFuzzer adds no slash.
    command.arg(option("-artifact_prefix=", &artifacts.join("")));
    command.args([
        format!("-max_total_time={seconds}"),
        format!("-timeout={longest}"),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-max_len={LONGEST_INPUT}"),
    ]);
    Ok(command)
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// Returns the directory `fuzz` of the repository.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz")
}

/// Returns the names of all targets, in order.
fn targets() -> Result<Vec<String>> {
    let directory = directory().join("fuzz_targets");
    let listed = fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
    let names = listed.filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}
