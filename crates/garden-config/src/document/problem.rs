use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use garden_build_core::ErrorKind;
use serde::{Deserialize, Serialize, Serializer};

use crate::document::issue::Issue;
use crate::document::printable;
use crate::document::snippet::Snippet;

/// A place in a file: line and column count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Problem {
    /// The file, as it was named when it was loaded; `None` for options that were set in Rust.
    #[serde(default, serialize_with = "path_for_people")]
    pub file: Option<PathBuf>,
    /// Where in the file, if it concerns a place in it.
    #[serde(default)]
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
    /// The line of the file, unless it belongs to a secret.
    #[serde(default)]
    pub snippet: Option<Snippet>,
    /// The whole file but for secrets, for renderers that show more than a line.
    #[serde(skip)]
    text: Option<Arc<str>>,
}

/// Something that the author of a valid project file should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Notice {
    /// What kind of thing it is.
    pub kind: NoticeKind,
    /// The field that it is about, from the provider, module or action down: `kaniko.namespace`.
    pub field: String,
    /// The file, as it was named when it was loaded; `None` for options that were set in Rust.
    #[serde(default, serialize_with = "path_for_people")]
    pub file: Option<PathBuf>,
    /// Where in the file.
    #[serde(default)]
    pub position: Option<Position>,
    /// What it is.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
}

/// Why there is a [`Notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum NoticeKind {
    /// The field works, but is on its way out.
    Deprecated,
    /// The field is read and checked, but nothing here depends on it.
    NoEffect,
    /// The field works, and another setting would be better.
    Advice,
    /// A document or file is passed over, as Garden passes over it.
    PassedOver,
}

/// All that is wrong with a configuration, in the file's order; never empty.
#[derive(Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}", self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

garden_build_core::debug_with_causes!(ConfigError);

impl ConfigError {
    /// `problems` are not empty.
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Returns the problems, in the file's order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(crate) fn whole_file(file: &Path, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let problem = Problem::without_file(message.into(), Some(hint.into()));
        Self { problems: vec![Problem { file: Some(file.to_owned()), ..problem }] }
    }

    /// Explains why a value cannot be written as YAML.
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
            [problem @ Problem { hint: Some(hint), .. }] => new(problem.headline()).with_hint(hint.as_str()),
            _ => new(error.to_string()),
        };
        // Lets an embedder get at the single problems.
        report.with_source(error)
    }
}

impl Problem {
    /// Every problem is made here, so here it becomes printable.
    pub(crate) fn without_file(message: String, hint: Option<String>) -> Self {
        let (message, hint) = (printable::message(message), hint.map(printable::message));
        Self { file: None, position: None, message, hint, snippet: None, text: None }
    }

    /// The same problem, with the line that it is about in the `text` of its file.
    pub(crate) fn shown_in(self, text: &Arc<str>) -> Self {
        let snippet = self.position.and_then(|position| Snippet::of(text, position));
        Self { snippet, text: Some(Arc::clone(text)), ..self }
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

/// Serialises a path as text. One that is not UTF-8 loses what is not, so that a service can report it at all.
#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn path_for_people<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.display().to_string()).serialize(serializer)
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
