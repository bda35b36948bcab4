//! `cargo xtask fuzz`: runs the fuzz targets, one after the other.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::cargo::{command, succeed};

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub struct Options {
    /// The targets; all of them, if none is named.
    targets: Vec<String>,
    /// How many seconds each of them runs.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

/// No input has to take longer, in seconds.
const LONGEST: u32 = 10;

/// How much memory a target may take, in mebibytes.
const MEMORY: u32 = 1024;

/// Ten times the longest seed.
const LONGEST_INPUT: u32 = 64 * 1024;

/// Installs `cargo fuzz` if it is missing, and runs the targets. What they find is kept in `fuzz/artifacts`, and what
/// leads somewhere new in `fuzz/corpus`.
///
/// # Errors
/// At the first target that finds something.
pub fn run(options: &Options) -> Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz");
    let known = targets(&fuzz)?;
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no fuzz target `{unknown}`; there are {}", known.join(", "));
    }
    if !command(["fuzz", "--version"]).output().is_ok_and(|output| output.status.success()) {
        succeed(&mut command(["install", "--locked", "cargo-fuzz"]), "installing cargo-fuzz")?;
    }
    // What is fuzzed is what is tested: the same versions of everything.
    fs::copy(fuzz.with_file_name("Cargo.lock"), fuzz.join("Cargo.lock")).context("copying Cargo.lock")?;
    for target in if options.targets.is_empty() { &known } else { &options.targets } {
        println!("\n=== {target}: {} s", options.seconds);
        succeed(&mut run_one(&fuzz, target, options.seconds)?, &format!("the fuzz target {target}"))?;
    }
    Ok(())
}

fn run_one(fuzz: &Path, target: &str, seconds: u32) -> Result<Command> {
    let corpus = fuzz.join("corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
    // The compiler has to be a nightly one, whichever runs this. No sanitizer, as there is no `unsafe` code for it to watch.
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", "run", "--sanitizer", "none", target]);
    command.current_dir(fuzz).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command.args([&corpus, &fuzz.join("seeds").join(target)]).arg("--");
    let dictionary = fuzz.join("dictionaries").join(format!("{target}.dict"));
    if dictionary.exists() {
        let mut argument = OsString::from("-dict=");
        argument.push(dictionary);
        command.arg(argument);
    }
    command.args([
        format!("-max_total_time={seconds}"),
        format!("-timeout={LONGEST}"),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-max_len={LONGEST_INPUT}"),
    ]);
    Ok(command)
}

/// Returns the names of all targets, in order.
fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let directory = fuzz.join("fuzz_targets");
    let listed = fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
    let names = listed.filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_seeds_and_is_built() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
        for target in targets(&fuzz).expect("targets") {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in fuzz/Cargo.toml");
            assert!(fuzz.join("seeds").join(&target).is_dir(), "{target} has no seeds");
        }
    }
}
