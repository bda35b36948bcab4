//! Runs one test program to its end, and kills it if it hangs.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long no test may end before the program counts as hung. The longest test takes a third of it on a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// How many lines of what each failed test has printed are repeated at the end.
const REPEATED_LINES: usize = 40;

/// How a test program has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) success: bool,
    /// All that it has printed, in its order.
    pub(super) output: String,
    /// Whether its lines were shown as they came.
    shown: bool,
    pub(super) took: Duration,
    /// The tests that ran when it was killed, if it was.
    pub(super) hung: Option<String>,
}

impl Ended {
    /// The program's output, if it was not shown as it came.
    pub(super) fn not_shown(&self) -> String {
        if self.shown { String::new() } else { format!("{}\n", self.output) }
    }

    /// What the failed tests have printed, if the program's output was shown as it came: by the end it is far above. The last lines of
    /// each, as a test that prints much is not to hide what another one says.
    pub(super) fn failures(&self) -> String {
        let section = if self.shown { self.output.split_once("\nfailures:\n") } else { None };
        let Some((_, failures)) = section else { return String::new() };
        let mut tests: Vec<Vec<&str>> = Vec::new();
        for line in failures.lines() {
            // libtest's heading of a test, or of the list of all that failed.
            if tests.is_empty() || line.starts_with("---- ") || line == "failures:" {
                tests.push(Vec::new());
            }
            tests.last_mut().expect("there is one now").push(line);
        }
        let mut repeated = String::new();
        for test in tests {
            let (heading, lines) = test.split_at(1);
            let last = &lines[lines.len().saturating_sub(REPEATED_LINES)..];
            for line in heading.iter().chain(last) {
                repeated.push_str(line);
                repeated.push('\n');
            }
        }
        repeated
    }

    /// What the program says last of all its tests. Tests that run themselves again print such lines of their own before.
    pub(super) fn result(&self) -> &str {
        self.output.lines().rfind(|line| line.starts_with("test result:")).unwrap_or("it says no result")
    }
}

/// Runs `command`, and shows its lines as they come if asked to.
pub(super) fn run_to_end(command: &mut Command, show: bool) -> Result<Ended> {
    run_within(command, show, PATIENCE)
}

fn run_within(command: &mut Command, show: bool, patience: Duration) -> Result<Ended> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let (lines, printed) = channel();
    let stdout = child.stdout.take().context("no output")?;
    let stderr = child.stderr.take().context("no output")?;
    let mut output = String::new();
    let mut hung = None;
    let (one, two) = (lines.clone(), lines);
    thread::spawn(move || pass_on(stdout, &one));
    thread::spawn(move || pass_on(stderr, &two));
    loop {
        match printed.recv_timeout(patience) {
            Ok(line) => {
                if show {
                    println!("{line}");
                }
                output.push_str(&line);
                output.push('\n');
            }
            // Both ends are closed: by the program, and by whatever it has started.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                hung = Some(running(&output));
                child.kill()?;
                break;
            }
        }
    }
    let success = child.wait()?.success() && hung.is_none();
    Ok(Ended { success, output, shown: show, took: start.elapsed(), hung })
}

fn pass_on(output: impl Read, lines: &Sender<String>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        line.clear();
        // Nobody listens any more once the program was killed.
        if lines.send(text).is_err() {
            return;
        }
    }
}

/// The tests that libtest has said to run for long, and that have not ended.
fn running(output: &str) -> String {
    const LONG: &str = " has been running for over 60 seconds";
    let test = |line: &str| line.strip_prefix("test ").map(str::to_owned);
    let mut running: BTreeSet<_> = output.lines().filter_map(|line| test(line.strip_suffix(LONG)?)).collect();
    for line in output.lines().filter_map(test) {
        if let Some((name, _)) = line.split_once(" ... ") {
            running.remove(name);
        }
    }
    running.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let ended =
            run_within(&mut shell("exec sleep 1000"), false, Duration::from_millis(300)).expect("ended");
        assert!(!ended.success && ended.hung.is_some());
    }

    #[test]
    fn the_tests_that_hang_are_named() {
        let output = "test a::hangs has been running for over 60 seconds\n\
                      test a::slow has been running for over 60 seconds\ntest a::slow ... ok\n";
        assert_eq!(running(output), "a::hangs");
    }

    #[test]
    fn what_failed_tests_have_printed_is_repeated_if_it_was_shown_long_before() {
        let script =
            "echo 'test a ... FAILED'; echo; echo failures:; echo '---- a stdout ----'; echo why; exit 1";
        let ended = |show| run_within(&mut shell(script), show, PATIENCE).expect("ended");
        assert_eq!(ended(true).failures(), "---- a stdout ----\nwhy\n");
        assert_eq!(ended(false).failures(), "");
    }

    #[test]
    fn a_failed_test_that_prints_much_does_not_hide_what_another_one_says() {
        let script = "echo; echo failures:; echo; echo '---- a stdout ----'; echo why; \
                      echo '---- b stdout ----'; seq 1000; echo; echo failures:; echo '    a'; exit 1";
        let failures = run_within(&mut shell(script), true, PATIENCE).expect("ended").failures();
        assert!(failures.contains("---- a stdout ----\nwhy\n---- b stdout ----\n962\n"), "{failures}");
        assert!(failures.ends_with("1000\n\nfailures:\n    a\n"), "{failures}");
    }

    #[test]
    fn a_program_that_ends_is_reported_with_all_that_it_printed() {
        let ended = run_within(&mut shell("echo one; echo two >&2; exit 3"), false, PATIENCE).expect("ended");
        assert!(!ended.success && ended.hung.is_none());
        assert!(ended.output.contains("one\n") && ended.output.contains("two\n"));
        let script =
            "echo 'test result: ok. 1 passed'; echo 'test a ... ok'; echo 'test result: ok. 2 passed'";
        let ended = run_within(&mut shell(script), false, PATIENCE).expect("ended");
        assert_eq!(ended.result(), "test result: ok. 2 passed");
    }
}
