//! Draws on a terminal.

use std::io;
use std::time::SystemTime;

use console::Term;
use garden_build::{Event, LogSource};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::Ending;
use super::screen::{self, View};
use super::steps::Steps;
use super::text::{labelled, wrapped};

/// Most drawings a second.
const RATE: u8 = 20;

/// A block of lines at the end of what a terminal shows.
pub(crate) struct Terminal {
    term: Term,
    /// Draws the block as its message.
    block: ProgressBar,
    activity: String,
    began: SystemTime,
    labels: Vec<Option<String>>,
    steps: Steps,
}

impl Terminal {
    pub(crate) fn new(activity: &str, labels: Vec<Option<String>>, began: SystemTime) -> Self {
        let target = AtStartOfLine(Term::buffered_stderr());
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(target), RATE);
        let style =
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self {
            term: Term::stderr(),
            block: ProgressBar::with_draw_target(None, target).with_style(style),
            activity: activity.to_owned(),
            began,
            steps: Steps::new(labels.clone()),
            labels,
        }
    }

    /// Takes an event of the one with this number. Most are shown when the block is drawn next, and what has to stay above it at once.
    pub(crate) fn take(&mut self, number: usize, event: &Event) {
        match event {
            Event::Warning { .. }
            | Event::Missed { .. }
            | Event::Log { step: None, source: LogSource::Output, .. } => {
                let label = self.labels.get(number).and_then(Option::as_deref);
                self.above(&labelled(label, &event.to_string()));
            }
            event => self.steps.take(number, event),
        }
    }

    pub(crate) fn cancelled(&mut self, what: &str) {
        self.steps.cancelled();
        self.above(what);
    }

    fn above(&self, text: &str) {
        let (_, columns) = self.term.size();
        self.block.println(wrapped(text, usize::from(columns).saturating_sub(1)));
    }

    pub(crate) fn draw(&self, now: SystemTime) {
        // The cursor stands on an empty line of its own, where the terminal shows what is typed.
        self.block.set_message(screen::live(&self.steps, &self.view(now)).join("\n") + "\n");
    }

    /// Leaves the whole block above what comes next.
    pub(crate) fn end(self, ending: Ending, now: SystemTime) {
        self.block.finish_and_clear();
        let lines = screen::last(&self.steps, &self.view(now), ending);
        // A terminal that has gone shows nothing more.
        let _ = self.term.write_line(&lines.join("\n"));
    }

    fn view(&self, now: SystemTime) -> View<'_> {
        let (rows, columns) = self.term.size();
        View {
            activity: &self.activity,
            began: self.began,
            now,
            columns: columns.into(),
            rows: rows.into(),
            has_colours: console::colors_enabled_stderr(),
        }
    }
}

/// Leaves the cursor at the start of the last line. indicatif leaves it at the end: what the terminal shows of a Ctrl-C would go on in the line below,
/// and the block would be drawn one line too low.
#[derive(Debug)]
struct AtStartOfLine(Term);

impl TermLike for AtStartOfLine {
    fn width(&self) -> u16 {
        TermLike::width(&self.0)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.write_str("\r")?;
        self.0.flush()
    }
}
