//! What a run spends its time on.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The phases of a run that have ended, in their order.
#[derive(Debug, Default)]
pub(super) struct Phases {
    ended: Vec<(&'static str, Duration)>,
}

impl Phases {
    /// Announces a phase, runs it, and says how long it took, whether or not it fails.
    pub(super) fn run<T>(&mut self, what: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n=== {what}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        println!("=== {what}: {} after {:.1} s", verdict(&result), took.as_secs_f64());
        self.ended.push((what, took));
        result
    }

    /// Prints a table of all phases.
    pub(super) fn print(&self) {
        println!("\n{}", self.table());
    }

    fn table(&self) -> String {
        let total: Duration = self.ended.iter().map(|(_, took)| *took).sum();
        let lines = self.ended.iter().copied().chain([("together", total)]);
        let lines = lines.map(|(what, took)| format!("{:>8.1} s  {what}", took.as_secs_f64()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn verdict<T>(result: &Result<T>) -> &'static str {
    if result.is_ok() { "passed" } else { "FAILED" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_fails_is_in_the_table_too() {
        let mut phases = Phases::default();
        phases.run("one", || Ok(())).expect("passes");
        phases.run("two", || anyhow::bail!("no") as Result<()>).expect_err("fails");
        phases.ended[0].1 = Duration::from_millis(1500);
        phases.ended[1].1 = Duration::from_secs(62);
        assert_eq!(phases.table(), "     1.5 s  one\n    62.0 s  two\n    63.5 s  together");
    }
}
