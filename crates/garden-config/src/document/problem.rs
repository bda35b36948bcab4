use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use garden_build_core::ErrorKind;

use crate::document::printable;
use crate::document::snippet::{self, Snippet};

/// A place in a file: line and column count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// Where a file starts, which is where problems of the file as a whole stand.
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// One thing that is wrong with the configuration.
///
/// Displays as a compiler does it: the place and the message, the line with a mark under the word, and
/// the help.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file, as it was named when it was loaded; `None` for options that were set in Rust.
    pub file: Option<PathBuf>,
    /// Where in the file, if it concerns a place in it.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line of the file, unless it belongs to a secret.
    pub snippet: Option<Snippet>,
    /// The whole file but for secrets, for renderers that show more than a line.
    text: Option<Arc<str>>,
}

/// Something that the author of a valid project file should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// What kind of thing it is.
    pub kind: NoticeKind,
    /// The field that it is about, from the provider, module or action down: `kaniko.namespace`.
    pub field: String,
    /// The file, as it was named when it was loaded; `None` for options that were set in Rust.
    pub file: Option<PathBuf>,
    /// Where in the file.
    pub position: Option<Position>,
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Why there is a [`Notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoticeKind {
    /// The field works, but is on its way out.
    Deprecated,
    /// The field is read and checked, but nothing here depends on it.
    NoEffect,
    /// The field works, and another setting would be better.
    Advice,
}

/// All that is wrong with a configuration, in the file's order; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Returns the problems, in the file's order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(crate) fn whole_file(file: &Path, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let problem = Problem::without_file(message.into(), Some(hint.into()));
        Self { problems: vec![Problem { file: Some(file.to_owned()), ..problem }] }
    }

    /// Says why a value cannot be written as YAML.
    pub(crate) fn unwritable(reason: impl fmt::Display) -> Self {
        let message = format!("the configuration cannot be written as YAML: {reason}");
        Self { problems: vec![Problem::without_file(message, None)] }
    }

    /// Turns broken rules of options that were set in Rust into an error.
    pub(crate) fn from_issues(issues: Vec<Issue>) -> Self {
        let problem =
            |issue: Issue| Problem::without_file(format!("`{}`: {}", issue.field, issue.message), issue.hint);
        Self { problems: issues.into_iter().map(problem).collect() }
    }

    pub(crate) fn check(issues: Vec<Issue>) -> Result<(), Self> {
        if issues.is_empty() { Ok(()) } else { Err(Self::from_issues(issues)) }
    }
}

impl From<ConfigError> for garden_build_core::Error {
    fn from(error: ConfigError) -> Self {
        let new = |message: String| Self::new(ErrorKind::Config, message);
        let report = match error.problems.as_slice() {
            [problem @ Problem { hint: Some(hint), .. }] => new(problem.headline()).with_hint(hint),
            _ => new(error.to_string()),
        };
        // Lets an embedder get at the single problems.
        report.with_source(error)
    }
}

impl Problem {
    /// Every problem is made here, so here it becomes printable.
    fn without_file(message: String, hint: Option<String>) -> Self {
        let (message, hint) = (printable::message(message), hint.map(printable::message));
        Self { file: None, position: None, message, hint, snippet: None, text: None }
    }

    /// Returns place and message in one line: `garden.yml:7:5: …`.
    pub fn headline(&self) -> String {
        headline(self.file.as_deref(), self.position, &self.message)
    }

    /// Returns the text of the whole file, with secrets blanked.
    #[cfg(feature = "miette")]
    pub(crate) fn text(&self) -> Option<&Arc<str>> {
        self.text.as_ref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let (Some(snippet), Some(position)) = (&self.snippet, self.position) {
            write!(f, "\n{}", snippet.at_line(position.line))?;
        }
        write_hint(f, self.hint.as_deref())
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&headline(self.file.as_deref(), self.position, &self.message))?;
        write_hint(f, self.hint.as_deref())
    }
}

fn headline(file: Option<&Path>, position: Option<Position>, message: &str) -> String {
    // The name of a file may come with a repository, too.
    let file = file.map(|file| printable::message(file.display().to_string()));
    match (file, position) {
        (None, _) => message.to_owned(),
        (Some(file), None) => format!("{file}: {message}"),
        (Some(file), Some(Position { line, column })) => format!("{file}:{line}:{column}: {message}"),
    }
}

fn write_hint(f: &mut fmt::Formatter<'_>, hint: Option<&str>) -> fmt::Result {
    hint.map_or(Ok(()), |hint| write!(f, "\n  help: {hint}"))
}

/// A rule that a typed value breaks, whether it was read from a file or set in Rust.
#[derive(Debug)]
pub(crate) struct Issue {
    /// The field, relative to the value: `limits.cpu`.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Issue {
    pub(crate) fn new(field: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into(), hint: Some(hint.into()) }
    }

    /// The same issue, in the field where the value is written, if `places` has another for it.
    pub(crate) fn placed(self, places: &[(&str, &str)]) -> Self {
        let place = places.iter().find(|(field, _)| *field == self.field);
        Self { field: place.map_or(self.field, |(_, place)| (*place).to_owned()), ..self }
    }

    /// The same issue seen from the value that holds this one in its field `parent`.
    pub(crate) fn within(mut self, parent: &str) -> Self {
        self.field =
            if self.field.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.field) };
        self
    }
}

/// The issues of all items of the list in the field `field`.
pub(crate) fn item_issues<T>(field: &str, items: &[T], issues: impl Fn(&T) -> Vec<Issue>) -> Vec<Issue> {
    let within = |(index, item)| {
        let parent = format!("{field}[{index}]");
        issues(item).into_iter().map(move |issue| issue.within(&parent))
    };
    items.iter().enumerate().flat_map(within).collect()
}

/// A file that is being read: its name and its text, for messages. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) file: Arc<Path>,
    pub(crate) text: Arc<str>,
}

impl Source {
    /// Without the byte order mark that some editors put in front of the text, and with one kind of line
    /// break: YAML reads all three as the same, and so everybody counts the same lines.
    pub(crate) fn new(file: &Path, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = if text.contains('\r') {
            text.replace("\r\n", "\n").replace('\r', "\n").into()
        } else {
            text.into()
        };
        Self { file: file.into(), text }
    }

    /// The directory that relative paths in the file start at.
    pub(crate) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// Collects what is wrong with one file, and what its author should know, so that all of it is
/// reported at once.
#[derive(Debug)]
pub(crate) struct Problems {
    source: Source,
    // Shared: readers of different parts of the tree report while others are still reading.
    found: RefCell<Vec<Problem>>,
    /// How often something was reported, also if it had been before.
    reports: Cell<usize>,
    notices: RefCell<Vec<Notice>>,
    /// The fields whose lines are not shown, by the position of their keys.
    hidden: RefCell<Vec<Position>>,
}

impl Problems {
    /// More problems than this are not told: nobody reads them, and a file can have as many as it has lines.
    const MOST: usize = 100;

    /// After so many reports, most of them of the same problems, no more are heard.
    const MOST_REPORTS: usize = 10_000;

    pub(crate) fn new(source: &Source) -> Self {
        Self {
            source: source.clone(),
            found: RefCell::default(),
            reports: Cell::default(),
            notices: RefCell::default(),
            hidden: RefCell::default(),
        }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn report(&self, position: Position, message: impl Into<String>, hint: Option<String>) {
        if self.is_full() {
            return;
        }
        self.reports.set(self.reports.get() + 1);
        // What is shown of the file is filled in at the end, when it is known what must not be.
        let problem = Problem {
            file: Some(self.source.file.to_path_buf()),
            position: Some(position),
            ..Problem::without_file(message.into(), hint)
        };
        let mut found = self.found.borrow_mut();
        // What stands behind an anchor is read once for each of its aliases.
        if !found.contains(&problem) {
            found.push(problem);
        }
    }

    /// Keeps the lines of the field whose key stands at `key` out of what is shown of the file.
    pub(crate) fn hide(&self, key: Position) {
        self.hidden.borrow_mut().push(key);
    }

    pub(crate) fn notice(
        &self,
        kind: NoticeKind,
        field: impl Into<String>,
        position: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.notices.borrow_mut().push(Notice {
            kind,
            field: field.into(),
            file: Some(self.source.file.to_path_buf()),
            position: Some(position),
            message: printable::message(message.into()),
            hint: Some(printable::message(hint.into())),
        });
    }

    /// Takes the notices, in the file's order.
    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        let mut notices = self.notices.take();
        notices.sort_by_key(|notice| notice.position);
        notices
    }

    /// Whether nothing more is told, so that it need not be worked out either.
    pub(crate) fn is_full(&self) -> bool {
        self.count() >= Self::MOST || self.reports.get() >= Self::MOST_REPORTS
    }

    pub(crate) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Ends the collection: `value`, unless something is wrong. Whoever has no value has reported why.
    pub(crate) fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.count() == 0 => Ok(value),
            _ => Err(self.into_error()),
        }
    }

    /// Ends the collection, in which something was reported.
    pub(crate) fn into_error(self) -> ConfigError {
        let mut problems = self.found.into_inner();
        problems.sort_by_key(|problem| problem.position);
        let text = printable::file(snippet::without(&self.source.text, &self.hidden.into_inner()));
        for problem in &mut problems {
            problem.snippet = problem.position.and_then(|position| Snippet::of(&text, position));
            problem.text = Some(Arc::clone(&text));
        }
        ConfigError { problems }
    }
}
