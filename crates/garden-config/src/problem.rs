use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use garden_build_core::ErrorKind;

/// A place in a file: line and column count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One thing that is wrong with the configuration.
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
}

/// Something that the author of a valid project file should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The file, as it was named when it was loaded; `None` for options that were set in Rust.
    pub file: Option<PathBuf>,
    /// Where in the file.
    pub position: Option<Position>,
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All that is wrong with a project file, in the file's order; never empty.
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
        let hint = Some(hint.into());
        let problem = Problem { file: Some(file.to_owned()), position: None, message: message.into(), hint };
        Self { problems: vec![problem] }
    }

    /// Turns broken rules of options that were set in Rust into an error.
    pub(crate) fn from_issues(issues: Vec<Issue>) -> Self {
        let problem = |issue: Issue| Problem {
            file: None,
            position: None,
            message: format!("`{}`: {}", issue.field, issue.message),
            hint: issue.hint,
        };
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
    fn headline(&self) -> String {
        headline(self.file.as_deref(), self.position, &self.message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_hint(f, &self.headline(), self.hint.as_deref())
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headline = headline(self.file.as_deref(), self.position, &self.message);
        write_with_hint(f, &headline, self.hint.as_deref())
    }
}

fn headline(file: Option<&Path>, position: Option<Position>, message: &str) -> String {
    match (file, position) {
        (None, _) => message.to_owned(),
        (Some(file), None) => format!("{}: {message}", file.display()),
        (Some(file), Some(Position { line, column })) => {
            format!("{}:{line}:{column}: {message}", file.display())
        }
    }
}

fn write_with_hint(f: &mut fmt::Formatter<'_>, headline: &str, hint: Option<&str>) -> fmt::Result {
    f.write_str(headline)?;
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

    /// The same issue seen from the value that holds this one in its field `parent`.
    pub(crate) fn within(mut self, parent: &str) -> Self {
        self.field =
            if self.field.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.field) };
        self
    }
}

/// Collects what is wrong with one file, so that all of it is reported at once.
#[derive(Debug)]
pub(crate) struct Problems {
    file: PathBuf,
    // Shared: readers of different parts of the tree report while others are still reading.
    found: RefCell<Vec<Problem>>,
}

impl Problems {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), found: RefCell::default() }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn report(&self, position: Position, message: impl Into<String>, hint: Option<String>) {
        let (file, position, message) = (Some(self.file.clone()), Some(position), message.into());
        let problem = Problem { file, position, message, hint };
        let mut found = self.found.borrow_mut();
        // What stands behind an anchor is read once for each of its aliases.
        if !found.contains(&problem) {
            found.push(problem);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Ends the collection: `value`, unless something is wrong. Whoever has no value has reported why.
    pub(crate) fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        let mut problems = self.found.into_inner();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => {
                problems.sort_by_key(|problem| problem.position);
                Err(ConfigError { problems })
            }
        }
    }
}
