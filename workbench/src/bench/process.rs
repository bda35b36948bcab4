//! A process whose time and memory are measured from outside, in the same way for everyone.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often memory is looked at, at least. The kernel keeps the peak; only growth in the last moment is missed. A process that has
/// just begun may end soon, so it is looked at each time that its age has grown by a tenth.
const MEMORY_INTERVAL: Duration = Duration::from_millis(10);
const FIRST_MEMORY_INTERVAL: Duration = Duration::from_micros(500);

/// Lines that are shown of a process that failed.
const TAIL: usize = 20;

/// Which of its streams a process reports on. The other one is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    /// What it says on the other one is for the terminal.
    OnOutput,
    OnErrors,
}

/// What a process needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needed {
    /// From before its start until after its end, in seconds.
    pub(super) seconds: f64,
    /// The most memory that was its own and resident, in MiB, together with that of the processes it has started.
    pub(super) peak_memory: f64,
}

impl Needed {
    /// What this process and a `next` one needed, one after the other.
    pub(super) fn and_then(self, next: Self) -> Self {
        Self { seconds: self.seconds + next.seconds, peak_memory: self.peak_memory.max(next.peak_memory) }
    }
}

/// Runs a process to its end, and hands each line of its reports to `on_line` when it arrives.
pub(super) fn run(
    command: &mut Command,
    input: &[u8],
    reports: Reports,
    mut on_line: impl FnMut(&str),
) -> Result<Needed> {
    command.stdin(Stdio::piped());
    match reports {
        Reports::OnOutput => command.stdout(Stdio::piped()),
        Reports::OnErrors => command.stdout(Stdio::null()).stderr(Stdio::piped()),
    };
    let started = Instant::now();
    let mut child =
        command.spawn().with_context(|| format!("starting {}", command.get_program().display()))?;
    let process = child.id();
    let memory = thread::spawn(move || peak_memory(process));

    // Dropped at once, so that the process sees the end of its input.
    child.stdin.take().context("no standard input")?.write_all(input)?;
    let stream: Box<dyn Read> = match reports {
        Reports::OnOutput => Box::new(child.stdout.take().context("no standard output")?),
        Reports::OnErrors => Box::new(child.stderr.take().context("no standard error")?),
    };
    let mut tail = VecDeque::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        on_line(&line);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    let status = child.wait()?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        let tail: Vec<String> = tail.into();
        bail!("{} failed ({status}):\n{}", command.get_program().display(), tail.join("\n"));
    }
    let peak_memory = memory.join().ok().flatten().context("the process's memory could not be read")?;
    Ok(Needed { seconds, peak_memory })
}

/// Runs a process to its end, and returns what it prints. An error shows its arguments.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed ({}): {}", arguments.join(" "), output.status, errors.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Watches until the process has ended: then it has no memory any more.
fn peak_memory(process: u32) -> Option<f64> {
    let started = Instant::now();
    let mut peak = None;
    while let Some(all) = memory_of_all(process) {
        peak = peak.max(Some(all));
        thread::sleep((started.elapsed() / 10).clamp(FIRST_MEMORY_INTERVAL, MEMORY_INTERVAL));
    }
    peak.map(|kibibytes| f64::from(kibibytes) / 1024.0)
}

/// The most that a process and all that it has started had until now, in KiB.
fn memory_of_all(process: u32) -> Option<u32> {
    let own = memory(process)?;
    Some(own + descendants(process).into_iter().filter_map(memory).sum::<u32>())
}

/// The same of the process alone.
fn memory(process: u32) -> Option<u32> {
    high_water_mark(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// The processes that a process has started, and those that these have: `docker` has a plug-in build.
/// Source: Linux, `Documentation/filesystems/proc.rst`: a thread's `children`.
fn descendants(process: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> = lists.flat_map(|list| numbers(&list)).collect();
    children.into_iter().flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Source: Linux, `Documentation/filesystems/proc.rst`: `VmHWM`, peak resident set size.
fn high_water_mark(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_and_heard() {
        let mut heard = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "read line; sleep 0.1; echo \"$line\""]);
        let needed = run(&mut command, b"hello\n", Reports::OnOutput, |line| heard.push(line.to_owned()))
            .expect("it runs");
        assert_eq!(heard, ["hello"]);
        assert!(needed.seconds >= 0.1 && needed.peak_memory > 0.1, "{needed:?}");
    }

    #[test]
    fn the_memory_of_what_a_process_starts_is_its_own() {
        // Each holds a variable of 32 MiB until the standard input ends.
        let holder = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); echo holds; read _; : \"${#x}\"";
        let needed = |script: &str, holders: usize| {
            let mut command = Command::new("sh");
            let command = command.args(["-c", script, holder]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("it starts");
            let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            assert_eq!(lines.take(holders).flatten().count(), holders);
            let all = memory_of_all(child.id()).expect("it runs");
            // Closes its standard input.
            assert!(child.wait().expect("it ends").success());
            f64::from(all) / 1024.0
        };
        let one = needed("eval \"$0\"", 1);
        // What runs in the background has another standard input unless it is given one.
        let two = needed("exec 3<&0; sh -c \"$0\" <&3 & eval \"$0\"; wait", 2);
        assert!(one > 32.0 && two > one + 32.0, "{one} {two}");
    }

    #[test]
    fn a_failure_says_what_the_process_said_last() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no luck >&2; exit 3"]);
        let error = run(&mut command, b"", Reports::OnErrors, |_| {}).expect_err("it fails");
        assert!(error.to_string().contains("no luck"), "{error}");
    }
}
