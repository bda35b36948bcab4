//! From measurements to medians, a table for people and a file for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Ours,
    Theirs,
}

impl Side {
    /// Returns the order in which the two take their turns. It alternates, so that neither always finds
    /// what the other has left in the machine's caches.
    pub(super) fn turns(round: u32) -> [Self; 2] {
        if round.is_multiple_of(2) { [Self::Ours, Self::Theirs] } else { [Self::Theirs, Self::Ours] }
    }
}

/// What was measured of us and a peer.
#[derive(Debug)]
pub(super) struct Report {
    peer: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    case: String,
    unit: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// A line of the file.
#[derive(Debug, Serialize)]
struct Line<'a> {
    case: &'a str,
    peer: &'a str,
    ours: f64,
    theirs: f64,
    unit: &'a str,
    /// How many times less we need.
    ratio: f64,
    rounds: usize,
}

impl Report {
    pub(super) fn new(peer: String) -> Self {
        Self { peer, rows: Vec::new() }
    }

    /// Takes a measurement. Less is better, whatever the unit.
    pub(super) fn record(&mut self, case: &str, unit: &'static str, side: Side, value: f64) {
        let known = self.rows.iter().position(|row| row.case == case);
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row::new(case, unit));
            self.rows.len() - 1
        });
        let row = &mut self.rows[index];
        match side {
            Side::Ours => row.ours.push(value),
            Side::Theirs => row.theirs.push(value),
        }
    }

    /// Takes a measurement of each side.
    pub(super) fn record_both(&mut self, case: &str, unit: &'static str, ours: f64, theirs: f64) {
        self.record(case, unit, Side::Ours, ours);
        self.record(case, unit, Side::Theirs, theirs);
    }

    /// Returns the rows that both sides were measured for.
    fn lines(&self) -> Vec<Line<'_>> {
        let line = |row: &'_ Row| {
            let (ours, theirs) = (median(&row.ours)?, median(&row.theirs)?);
            Some((ours, theirs, theirs / ours, row.ours.len().min(row.theirs.len())))
        };
        self.rows
            .iter()
            .filter_map(|row| {
                let (ours, theirs, ratio, rounds) = line(row)?;
                Some(Line { case: &row.case, peer: &self.peer, ours, theirs, unit: row.unit, ratio, rounds })
            })
            .collect()
    }
}

/// Prints the tables of a bench, and writes them and their figures into `target/bench`.
pub(super) fn publish(name: &str, reports: &[Report]) -> Result<()> {
    let lines: Vec<Line<'_>> = reports.iter().flat_map(Report::lines).collect();
    let tables: Vec<String> = reports.iter().map(|report| table(&report.peer, &report.lines())).collect();
    let tables = tables.join("\n");
    println!("\n{tables}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("bench");
    fs::create_dir_all(&directory)?;
    let json = serde_json::to_string_pretty(&lines)? + "\n";
    for (extension, text) in [("json", &json), ("md", &tables)] {
        let file = format!("{name}.{extension}");
        fs::write(directory.join(&file), text)?;
        println!("written: target/bench/{file}");
    }
    Ok(())
}

impl Row {
    fn new(case: &str, unit: &'static str) -> Self {
        Self { case: case.to_owned(), unit, ours: Vec::new(), theirs: Vec::new() }
    }
}

/// Returns the middle value, or the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

fn table(peer: &str, lines: &[Line<'_>]) -> String {
    let rounds = lines.iter().map(|line| line.rounds).min().unwrap_or_default();
    let mut table = format!(
        "Medians of {rounds} rounds.\n\n| case | garden-build | {peer} | unit | ratio |\n|---|--:|--:|---|--:|\n"
    );
    for Line { case, ours, theirs, unit, ratio, .. } in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {case} | {} | {} | {unit} | {ratio:.1} |", figure(*ours), figure(*theirs));
    }
    table
}

/// Three figures say more than the measurement knows.
fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outlier_does_not_move_the_median() {
        assert_eq!(median(&[3.0, 1.0, 100.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_above_one_means_that_we_are_better() {
        let mut report = Report::new("peer 1.0".to_owned());
        for (side, value) in [(Side::Ours, 2.0), (Side::Theirs, 5.0), (Side::Ours, 2.0)] {
            report.record("cold", "s", side, value);
        }
        report.record("only ours", "s", Side::Ours, 1.0);
        let expected = r#"[{"case":"cold","peer":"peer 1.0","ours":2.0,"theirs":5.0,"unit":"s","ratio":2.5,"rounds":1}]"#;
        assert_eq!(serde_json::to_string(&report.lines()).expect("JSON"), expected);
        assert!(table("peer 1.0", &report.lines()).ends_with("| cold | 2.00 | 5.00 | s | 2.5 |\n"));
    }

    #[test]
    fn the_two_sides_take_turns() {
        assert_ne!(Side::turns(0), Side::turns(1));
    }
}
