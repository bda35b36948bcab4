//! A few seconds of the fuzz targets, as many at once as there are processors.

use std::collections::VecDeque;
use std::process::Output;
use std::sync::Mutex;
use std::thread::{self, available_parallelism};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};

use super::build::{self, Build, Built};
use super::command;

/// The readers of what comes from a repository, a registry, a Secret or a daemon, and that are changed most.
const TARGETS: [&str; 9] = [
    "docker_config",
    "dockerfile",
    "file_sync",
    "ignore_patterns",
    "image_reference",
    "pack_index",
    "project_file",
    "registry_answers",
    "www_authenticate",
];

/// How long each of them runs.
const SECONDS: u32 = 10;

/// An input that takes longer, in seconds, goes on for ever. The machine may be doing much else.
const ENDLESS: u32 = 300;

/// So many of the last lines of a target that has failed are shown.
const LINES: usize = 60;

/// Builds some of the targets quickly and runs each of them for ten seconds.
///
/// # Errors
/// If one of them finds something, after all have run.
pub(super) fn run() -> Result<()> {
    let built = build::build(&TARGETS, Build::Quick)?;
    let queue = Mutex::new(VecDeque::from(TARGETS));
    let failures = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let next = queue.lock().map_err(|_| anyhow!("another target's thread panicked"))?.pop_front();
            let Some(target) = next else { return Ok(()) };
            if let Err(error) = run_one(&built, target) {
                println!("{error:#}");
                failures.lock().map_err(|_| anyhow!("another target's thread panicked"))?.push(target);
            }
        }
    };
    thread::scope(|scope| {
        let processors = available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    let failures = failures.into_inner().map_err(|_| anyhow!("a thread panicked"))?;
    if !failures.is_empty() {
        bail!("fuzz targets failed: {}", failures.join(", "));
    }
    Ok(())
}

fn run_one(built: &Built, target: &str) -> Result<()> {
    let start = Instant::now();
    let mut command = command(&built.program(target), target, SECONDS, ENDLESS)?;
    let output = command.arg("-print_final_stats=1").output();
    let output = output.with_context(|| format!("starting the fuzz target {target}"))?;
    println!("{}", report(target, &output, start.elapsed().as_secs_f64())?);
    Ok(())
}

/// Returns the line that a target is worth, or an error with what it has said.
fn report(target: &str, output: &Output, seconds: f64) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<_> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        let found =
            said.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, file)| file);
        let again = found.map_or_else(String::new, |file| {
            format!("\nthe input is kept; run it again: cargo xtask fuzz {target} --input {file}")
        });
        bail!("{last}\nthe fuzz target {target} failed ({}){again}", output.status);
    }
    let number = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
        line.and_then(|rest| rest.trim_start_matches(':').trim().parse::<u64>().ok())
    };
    let (Some(runs), Some(new)) = (number("number_of_executed_units"), number("new_units_added")) else {
        bail!("the fuzz target {target} says nothing of what it did:\n{said}");
    };
    // One input is run before all others. A target that is not guided would find nothing new either, but run.
    if said.contains("no interesting inputs were found") || !said.contains("inline 8-bit counters") {
        bail!("the fuzz target {target} does not see what it runs: look at fuzz/instrument.sh\n{said}");
    }
    Ok(format!("{seconds:>6.1} s  {target}: {runs} inputs, {new} of them new"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;
    use crate::fuzz;

    fn output(code: i32, said: &str) -> Output {
        Output { status: ExitStatus::from_raw(code << 8), stdout: Vec::new(), stderr: said.into() }
    }

    #[test]
    fn what_runs_shortly_exists() {
        let known = fuzz::targets().expect("targets");
        for target in TARGETS {
            assert!(known.iter().any(|name| name == target), "{target}");
        }
    }

    #[test]
    fn a_crash_names_the_input_and_how_to_run_it_again() {
        let said = "panicked\nartifact_prefix='a/'; Test unit written to a/crash-1\nBase64: eA==\n";
        let error = report("dockerfile", &output(77, said), 1.0).expect_err("it failed").to_string();
        assert!(error.contains("cargo xtask fuzz dockerfile --input a/crash-1"), "{error}");
        assert!(error.starts_with("panicked"), "{error}");
    }

    #[test]
    fn a_target_that_counts_nothing_fails() {
        let said = "stat::number_of_executed_units: 1200\nstat::new_units_added:          3\n";
        report("dockerfile", &output(0, said), 10.0).expect_err("it is not guided");
        let said = format!("INFO: Loaded 1 modules (9 inline 8-bit counters)\n{said}");
        let line = report("dockerfile", &output(0, &said), 10.04).expect("it is guided");
        assert_eq!(line, "  10.0 s  dockerfile: 1200 inputs, 3 of them new");
    }
}
