//! Lays out steps for a terminal.
//!
//! ```text
//! [+] Building 12.3s (2/4)
//!  => read the build context .                        0.1s
//!  => CACHED [1/3] FROM docker.io/library/busybox     0.0s
//!  => [2/3] RUN make                                 12.0s
//!  => => # cc main.c
//!  => send the build context                          0.4s
//!  => => 41%  12.6 MB / 30.5 MB  [========>           ]
//! ```

use std::time::{Duration, SystemTime};

use console::Style;
use indicatif::DecimalBytes;

use super::Ending;
use super::steps::{State, Step, Steps};
use super::text::{cut, spread};

/// How many columns of a bar show how far a step has come.
const BAR: usize = 20;

/// What is drawn on, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// What is done, as `Building`.
    pub(crate) activity: &'a str,
    pub(crate) began: SystemTime,
    pub(crate) now: SystemTime,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) has_colours: bool,
}

/// What a line is worth when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It has ended.
    Past,
    /// It says more of what runs.
    Detail,
    /// What runs.
    Present,
}

/// Returns the lines to draw while steps run: as many as the terminal has rows, less one for the cursor.
pub(crate) fn live(steps: &Steps, view: &View<'_>) -> Vec<String> {
    let state = if steps.is_cancelled() { " CANCELLING" } else { "" };
    let mut lines = lines(steps, view, true);
    let room = view.rows.saturating_sub(2);
    for worth in [Worth::Past, Worth::Detail, Worth::Present] {
        let mut excess = lines.len().saturating_sub(room);
        // The oldest go first.
        lines.retain(|(of, _)| {
            let goes = excess > 0 && *of == worth;
            excess -= usize::from(goes);
            !goes
        });
    }
    framed(steps, view, state, lines)
}

/// Returns the lines that stay after all has ended.
pub(crate) fn last(steps: &Steps, view: &View<'_>, ending: Ending) -> Vec<String> {
    let state = match ending {
        Ending::Finished => " FINISHED",
        Ending::Failed => " FAILED",
        Ending::Cancelled => " CANCELLED",
    };
    framed(steps, view, state, lines(steps, view, false))
}

fn framed(steps: &Steps, view: &View<'_>, state: &str, lines: Vec<(Worth, String)>) -> Vec<String> {
    let ended = steps.all().iter().filter(|step| step.state != State::Running).count();
    let took = seconds(since(view.began, view.now));
    let header = format!("[+] {} {took} ({ended}/{}){state}", view.activity, steps.all().len());
    let header = style(view).bold().apply_to(cut(&header, width(view))).to_string();
    std::iter::once(header).chain(lines.into_iter().map(|(_, line)| line)).collect()
}

fn lines(steps: &Steps, view: &View<'_>, is_live: bool) -> Vec<(Worth, String)> {
    let mut parts = vec![Vec::new(); steps.all().len()];
    let mut roots = Vec::new();
    for (place, step) in steps.all().iter().enumerate() {
        match step.parent {
            Some(parent) => parts[parent].push(place),
            None => roots.push(place),
        }
    }
    let mut lines = Vec::new();
    // Parts stand below what they are a part of.
    let mut waiting: Vec<(usize, usize)> = roots.into_iter().rev().map(|place| (place, 1)).collect();
    while let Some((place, depth)) = waiting.pop() {
        lines.extend(lines_of(&steps.all()[place], depth, view, is_live));
        waiting.extend(parts[place].iter().rev().map(|part| (*part, depth + 1)));
    }
    if let Some(remark) = steps.remark().filter(|_| is_live) {
        let line = style(view).dim().apply_to(cut(&format!(" # {remark}"), width(view)));
        lines.push((Worth::Detail, line.to_string()));
    }
    lines
}

fn lines_of(step: &Step, depth: usize, view: &View<'_>, is_live: bool) -> Vec<(Worth, String)> {
    // Deeper ones would have no room.
    let arrows = |depth: usize| " =>".repeat(depth.min(4));
    let (own, below) = (arrows(depth), arrows(depth + 1));
    let (word, style, took) = match &step.state {
        State::Running => ("", style(view), since(step.began, view.now)),
        // Beside what runs, what has ended steps back.
        State::Done(took) if is_live => ("", style(view).dim(), *took),
        State::Done(took) => ("", style(view), *took),
        State::Cached(took) => ("CACHED ", style(view).dim(), *took),
        State::Failed(took, _) => ("ERROR ", style(view).red().bold(), *took),
        State::Cancelled(took) => ("CANCELLED ", style(view).yellow(), *took),
    };
    let left = format!("{own} {word}{}", step.name);
    let line = style.apply_to(spread(&left, &seconds(took), width(view))).to_string();
    let is_running = step.state == State::Running;
    let mut lines = vec![(if is_running { Worth::Present } else { Worth::Past }, line)];
    if let State::Failed(_, error) = &step.state {
        lines.push((Worth::Past, style.apply_to(cut(&format!("{below} {error}"), width(view))).to_string()));
    }
    if is_running && is_live {
        let progress = step.progress.map(|(current, total)| format!("{below} {}", amount(current, total)));
        lines.extend(progress.map(|line| (Worth::Detail, cut(&line, width(view)))));
        let dim = self::style(view).dim();
        lines.extend(step.tail.iter().map(|line| {
            let line = cut(&format!("{below} # {line}"), width(view));
            (Worth::Detail, dim.apply_to(line).to_string())
        }));
    }
    lines
}

/// One column less than the terminal has: what fills the last one may begin the next line.
fn width(view: &View<'_>) -> usize {
    view.columns.saturating_sub(1)
}

fn style(view: &View<'_>) -> Style {
    Style::new().force_styling(view.has_colours)
}

fn amount(current: u64, total: Option<u64>) -> String {
    let Some(total) = total else { return DecimalBytes(current).to_string() };
    let part = |of: usize| {
        let done = u128::from(current.min(total)) * of as u128;
        usize::try_from(done.checked_div(u128::from(total)).unwrap_or(of as u128)).unwrap_or(of)
    };
    let done = part(BAR);
    let tip = if done < BAR { ">" } else { "" };
    let rest = " ".repeat(BAR - done - tip.len());
    let (percent, bar) = (part(100), "=".repeat(done));
    format!("{percent:>3}%  {} / {}  [{bar}{tip}{rest}]", DecimalBytes(current), DecimalBytes(total))
}

fn since(began: SystemTime, now: SystemTime) -> Duration {
    // A clock may be set back.
    now.duration_since(began).unwrap_or_default()
}

/// As `12.3s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
