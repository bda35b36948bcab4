//! Collecting what is wrong with a file.

use std::cell::{Cell, RefCell};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::document::normalized::normalized;
use crate::document::printable;
use crate::document::snippet;
use crate::{ConfigError, Notice, NoticeKind, Position, Problem};

/// A file that is being read: its name and its text, for messages. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) file: Arc<Path>,
    pub(crate) text: Arc<str>,
    /// The directory that the paths in it must not lead out of, if the project is confined.
    boundary: Option<Arc<Path>>,
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
        Self { file: file.into(), text, boundary: None }
    }

    /// The directory that relative paths in the file start at.
    pub(crate) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// Lets no path in the file lead out of its directory.
    pub(crate) fn confine(&mut self) {
        self.boundary = Some(self.directory().into());
    }

    /// Lets no path in the file lead out of the directory that paths in `other` must not lead out of.
    pub(crate) fn confined_as(self, other: &Self) -> Self {
        Self { boundary: other.boundary.clone(), ..self }
    }

    /// The directory that no path in the file may lead out of, if there is one.
    pub(crate) fn boundary(&self) -> Option<&Path> {
        let boundary = self.boundary.as_deref()?;
        Some(if boundary.as_os_str().is_empty() { Path::new(".") } else { boundary })
    }

    /// Returns where `path` leads, which the file names; `None` if it must not lead there. As with Garden, `.` and `..` are taken out
    /// of it by its text.
    pub(crate) fn lead(&self, path: &Path) -> Option<PathBuf> {
        let path = normalized(path);
        let full = if path.as_os_str().is_empty() {
            self.directory().to_owned()
        } else {
            self.directory().join(&path)
        };
        let Some(boundary) = self.boundary() else { return Some(full) };
        let Ok(boundary) = boundary.canonicalize() else {
            // Nothing is there, so the text is all there is.
            let stays = |part| matches!(part, Component::Normal(_));
            return path.components().all(stays).then_some(full);
        };
        // What is there is judged by where links lead; what is not, by the directory that it would be in. A link that leads nowhere
        // leads out, as one that leads out does: nobody learns which of the two it is.
        for ancestor in full.ancestors() {
            let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
            if let Ok(real) = ancestor.canonicalize() {
                let leads_to = if ancestor == full { real.clone() } else { full };
                return real.starts_with(boundary).then_some(leads_to);
            }
            if ancestor.symlink_metadata().is_ok() {
                return None;
            }
        }
        None
    }
}

/// Collects what is wrong with one file, and what its author should know, so that all of it is
/// reported at once.
#[derive(Debug)]
pub(crate) struct Problems {
    source: Source,
    // Shared: readers of different parts of the tree report while others are still reading.
    found: RefCell<Vec<Problem>>,
    /// How often something was reported, including repetitions.
    reports: Cell<usize>,
    notices: RefCell<Vec<Notice>>,
    /// The fields whose lines are not shown, by the position of their keys.
    hidden: RefCell<Vec<Position>>,
}

impl Problems {
    /// More problems than this are not reported, nor more notices: nobody reads them, and a file can have as many as it has lines.
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
        let mut problem = Problem::without_file(message.into(), hint);
        problem.file = Some(self.source.file.to_path_buf());
        problem.position = Some(position);
        let mut found = self.found.borrow_mut();
        // What stands behind an anchor is read once for each of its aliases.
        if !found.contains(&problem) {
            found.push(problem);
        }
    }

    /// Returns where `path` leads, which the text at `position` names. Reports it if the project is confined and it leads
    /// out of its directory.
    pub(crate) fn path(&self, path: &str, position: Position) -> Option<PathBuf> {
        let found = self.source.lead(Path::new(path));
        if found.is_none() {
            let message =
                format!("`{path}` leads out of the project's directory, to which the project is confined");
            let hint = "read the project unconfined if you trust it".to_owned();
            self.report(position, message, Some(hint));
        }
        found
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
        if self.notices.borrow().len() >= Self::MOST {
            return;
        }
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

    /// Whether nothing more is reported, so that it need not be worked out either.
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
        ConfigError::new(problems.into_iter().map(|problem| problem.shown_in(&text)).collect())
    }
}
