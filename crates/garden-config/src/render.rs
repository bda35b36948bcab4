//! Errors as `miette` shows them.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use crate::document::printable;
use crate::{ConfigError, Problem};

/// A [`ConfigError`] for `miette`, which shows the places in the file.
#[derive(Debug, Clone)]
pub struct ConfigReport {
    problems: Vec<ProblemReport>,
}

/// A [`Problem`] for `miette`.
#[derive(Debug, Clone)]
pub struct ProblemReport {
    problem: Problem,
    source: Option<NamedSource<Arc<str>>>,
    labels: Vec<LabeledSpan>,
}

impl From<ConfigError> for ConfigReport {
    fn from(error: ConfigError) -> Self {
        Self { problems: error.problems().iter().cloned().map(ProblemReport::from).collect() }
    }
}

impl From<Problem> for ProblemReport {
    fn from(problem: Problem) -> Self {
        let (Some(text), Some(position)) = (problem.text(), problem.position) else {
            return Self { problem, source: None, labels: Vec::new() };
        };
        let before: usize = text.split_inclusive('\n').take(position.line - 1).map(str::len).sum();
        let line = text[before..].lines().next().unwrap_or_default();
        let in_line = |columns: usize| line.chars().take(columns).map(char::len_utf8).sum::<usize>();
        let start = in_line(position.column - 1);
        let columns = problem.snippet.as_ref().map_or(0, |snippet| snippet.length);
        let end = in_line(position.column - 1 + columns);
        let file = problem.file.as_deref().unwrap_or(std::path::Path::new("")).display().to_string();
        let file = printable::message(file);
        let source = Some(NamedSource::new(file, Arc::clone(text)));
        let labels = vec![LabeledSpan::new_with_span(None, (before + start, end - start))];
        Self { problem, source, labels }
    }
}

impl fmt::Display for ConfigReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("there is a problem in the configuration"),
            many => write!(f, "there are {many} problems in the configuration"),
        }
    }
}

impl fmt::Display for ProblemReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for ConfigReport {}

impl std::error::Error for ProblemReport {}

impl Diagnostic for ConfigReport {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

impl Diagnostic for ProblemReport {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
