use std::io;
use std::path::PathBuf;

use super::{GlobError, PathBytes, PatternProblem};
use crate::{BuildRequest, Error, ErrorKind};

/// Why a build context cannot be scanned or sent.
///
/// Every path is relative to the context and slash-separated, unless it is a [`PathBuf`]. Of what an ignore file can leave out, it
/// is a [`PathBytes`], and the hint says with which line.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The caller lost interest.
    #[error("the build was cancelled")]
    Cancelled,

    /// The context directory does not exist.
    #[error("the context directory `{}` does not exist", .0.display())]
    RootMissing(PathBuf),

    /// The context is not a directory.
    #[error("the build context `{}` is not a directory", .0.display())]
    RootNotADirectory(PathBuf),

    /// The context directory cannot be opened.
    #[error("the context directory `{}` cannot be opened: {reason}", path.display())]
    RootUnreadable {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },

    /// The path of the Dockerfile does not lie inside the context.
    #[error("the path `{}` {reason}", path.display())]
    Outside {
        /// The path as requested.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The Dockerfile or an ignore file is a symbolic link to what is none of the build's business.
    #[error("`{path}` is a symbolic link that leads out of `{}`", boundary.display())]
    LinkLeadsOut {
        /// The link.
        path: String,
        /// The directory in which it has to stay.
        boundary: PathBuf,
    },

    /// The Dockerfile or an ignore file cannot be read.
    #[error("`{path}` cannot be read: {reason}")]
    TextUnreadable {
        /// The file.
        path: String,
        /// What the operating system said.
        reason: io::Error,
    },

    /// There is no Dockerfile.
    #[error("there is no `{path}` in the context directory `{}`", root.display())]
    DockerfileMissing {
        /// The Dockerfile's path.
        path: String,
        /// A file in the same directory whose name differs only in case.
        similar: Option<String>,
        /// The context directory.
        root: PathBuf,
    },

    /// The Dockerfile or the ignore file is too large to be one.
    #[error("`{path}` is larger than {limit} bytes, so it is not a Dockerfile or ignore file")]
    TooLarge {
        /// The file.
        path: String,
        /// The most that is accepted.
        limit: u64,
    },

    /// The Dockerfile or the ignore file is a directory or something else that holds no text.
    #[error("`{0}` is not a file")]
    NotAFile(String),

    /// A line of the ignore file is too long.
    #[error("{file}:{line}: the line is longer than 65535 bytes")]
    IgnoreLineTooLong {
        /// The ignore file.
        file: String,
        /// The line, from 1.
        line: usize,
    },

    /// A pattern of the ignore file is not text.
    #[error("{file}:{line}: the pattern is not UTF-8")]
    IgnoreLineNotUtf8 {
        /// The ignore file.
        file: String,
        /// The line, from 1.
        line: usize,
    },

    /// A pattern of the ignore file cannot be used.
    #[error("{file}:{line}: the pattern `{pattern}` cannot be used: {problem}")]
    Pattern {
        /// The ignore file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: PatternProblem,
    },

    /// A pattern of the request's `include` or `exclude` cannot be used.
    #[error("the pattern `{pattern}` in `{field}` cannot be used: {problem}")]
    RequestPattern {
        /// The field.
        field: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: PatternProblem,
    },

    /// A pattern of the request's `exclude` begins with a `!`.
    #[error("the pattern `{0}` in `exclude` cannot be used: nothing can be brought back there with a `!`")]
    ExceptionInExclude(String),

    /// The request's globs cannot be used.
    #[error(transparent)]
    Globs(#[from] GlobError),

    /// A name of the request's ignore files is not that of a file.
    #[error("`{0}` cannot be the name of an ignore file, which is looked for in every directory")]
    IgnoreFileName(String),

    /// A pattern of an ignore file with git's syntax cannot be used.
    #[error("{file}:{line}: the pattern `{pattern}` cannot be used: {problem}")]
    GitPattern {
        /// The ignore file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },

    /// The ignore files of a directory are well-formed, but more than can be matched.
    #[error("the ignore files in `{directory}` cannot be used: {problem}")]
    GitPatternsTooLarge {
        /// The directory.
        directory: String,
        /// What is too much.
        problem: String,
    },

    /// The Dockerfile's path is not UTF-8; or, elsewhere than on Unix, that of an entry. What is not UTF-8 is not shown as it is.
    #[error("the name of `{0}` is not UTF-8")]
    NameNotUtf8(String),

    /// A symbolic link's target is not UTF-8, elsewhere than on Unix.
    #[error("the target of the symbolic link `{0}` is not UTF-8")]
    TargetNotUtf8(PathBytes),

    /// A device.
    #[error("`{path}` is a {kind}, which cannot be part of a build context")]
    Special {
        /// The path.
        path: PathBytes,
        /// What it is.
        kind: &'static str,
    },

    /// A file, directory or link cannot be read.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// The path.
        path: PathBytes,
        /// What the operating system said.
        reason: io::Error,
    },

    /// A file is not what it was when the context was scanned.
    #[error("`{0}` changed while it was being read; build again")]
    Changed(PathBytes),

    /// The archive could not be handed on.
    #[error("the build context could not be written: {0}")]
    Write(io::Error),
}

crate::debug_with_causes!(ContextError);

impl ContextError {
    /// Wraps what happened when `path` was read: a file that is gone has changed since it was found.
    pub(super) fn reading(path: impl Into<PathBytes>, reason: io::Error) -> Self {
        match reason.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Changed(path.into()),
            _ => Self::Unreadable { path: path.into(), reason },
        }
    }

    /// Calls the context directory what `request` calls it.
    pub(super) fn shown_by(self, request: &BuildRequest) -> Self {
        let Some(name) = &request.shown_as else { return self };
        let real = request.directory.canonicalize();
        let show = |path: PathBuf| {
            let is_context = path == request.directory || real.as_ref().is_ok_and(|real| *real == path);
            if is_context { PathBuf::from(name) } else { path }
        };
        match self {
            Self::RootMissing(path) => Self::RootMissing(show(path)),
            Self::RootNotADirectory(path) => Self::RootNotADirectory(show(path)),
            Self::RootUnreadable { path, reason } => Self::RootUnreadable { path: show(path), reason },
            Self::LinkLeadsOut { path, boundary } => Self::LinkLeadsOut { path, boundary: show(boundary) },
            Self::DockerfileMissing { path, similar, root } => {
                Self::DockerfileMissing { path, similar, root: show(root) }
            }
            other => other,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled => ErrorKind::Cancelled,
            // Not the context's fault: whoever takes the archive stopped to.
            Self::Write(_) => ErrorKind::Unexpected,
            _ => ErrorKind::Context,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::RootMissing(_) | Self::RootNotADirectory(_) | Self::RootUnreadable { .. } => {
                "set the build's directory to one that holds the Dockerfile and can be read".to_owned()
            }
            Self::Outside { .. } => {
                "use a path relative to the context directory, such as `docker/api.Dockerfile`, and a \
                 context directory that contains it"
                    .to_owned()
            }
            Self::DockerfileMissing { similar: Some(similar), .. } => {
                format!("did you mean `{similar}`? Upper and lower case differ")
            }
            Self::DockerfileMissing { similar: None, .. } => {
                "create it, or set the Dockerfile's path relative to the context directory".to_owned()
            }
            Self::LinkLeadsOut { .. } => "replace the link with the file".to_owned(),
            Self::TextUnreadable { .. } => "make it readable to the user who builds".to_owned(),
            Self::Pattern { problem: PatternProblem::NothingToInclude, .. } => {
                "name what to include behind the `!`, or delete the line".to_owned()
            }
            Self::RequestPattern { problem: PatternProblem::NothingToInclude, .. } => {
                "name what to leave out behind the `!`, or delete the pattern".to_owned()
            }
            Self::Pattern { .. } | Self::RequestPattern { .. } => {
                "correct the pattern; a `\\` makes the next character literal".to_owned()
            }
            Self::Globs(error) => error.hint().to_owned(),
            Self::GitPattern { .. } => "correct the pattern, or delete the line".to_owned(),
            Self::ExceptionInExclude(_) => {
                "narrow the patterns that exclude too much, or list what to keep in `include`".to_owned()
            }
            Self::IgnoreFileName(_) => "give a name without slashes, such as `.gardenignore`".to_owned(),
            Self::GitPatternsTooLarge { .. } => "write fewer or shorter patterns".to_owned(),
            Self::IgnoreLineTooLong { .. } => "split the line; each pattern has its own".to_owned(),
            Self::IgnoreLineNotUtf8 { .. } => "save the file as UTF-8".to_owned(),
            Self::NameNotUtf8(_) => "rename it, or exclude its directory in .dockerignore".to_owned(),
            Self::TargetNotUtf8(path) | Self::Special { path, .. } => leaving_out(path),
            Self::Unreadable { path, .. } => {
                format!("make it readable to the user who builds, or {}", leaving_out(path))
            }
            Self::Changed(path) => format!(
                "let nothing write to it while it is being read and sent; or, if the build does not need it, {}",
                leaving_out(path)
            ),
            Self::TooLarge { .. } | Self::NotAFile(_) => {
                "check the Dockerfile's path and the names of ignore files".to_owned()
            }
            Self::Cancelled | Self::Write(_) => return None,
        })
    }
}

/// Describes how `path` is left out. Of an ignore file, the last line that matches counts, and a Dockerfile's own one counts alone.
fn leaving_out(path: &PathBytes) -> String {
    format!(
        "add `{}` as the last line to .dockerignore, or to the Dockerfile's own ignore file if it has one",
        path.ignore_pattern()
    )
}

impl From<ContextError> for Error {
    fn from(error: ContextError) -> Self {
        let mut mapped = Self::new(error.kind(), error.to_string());
        if let Some(hint) = error.hint() {
            mapped = mapped.with_hint(hint);
        }
        if matches!(error, ContextError::Changed(_)) {
            mapped = mapped.retryable();
        }
        mapped.with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_scan_is_a_cancelled_build_and_a_changed_file_may_be_retried() {
        assert_eq!(Error::from(ContextError::Cancelled).kind(), ErrorKind::Cancelled);
        let changed = Error::from(ContextError::Changed("src/main.rs".into()));
        assert_eq!(changed.kind(), ErrorKind::Context);
        assert!(changed.is_retryable());
        assert!(changed.message().contains("`src/main.rs` changed while it was being read; build again"));
    }

    #[test]
    fn what_an_ignore_file_can_leave_out_is_answered_with_the_line_to_add() {
        let line = |path: &[u8], error: fn(PathBytes) -> ContextError| {
            let hint = Error::from(error(path.into())).hint().expect("a hint").to_owned();
            let (_, line) = hint.split_once("add `").expect("a line");
            line.split_once("` as the last line to .dockerignore").expect("a file").0.to_owned()
        };
        let errors: [fn(PathBytes) -> ContextError; 3] = [
            ContextError::Changed,
            |path| ContextError::Special { path, kind: "device" },
            |path| ContextError::Unreadable { path, reason: io::ErrorKind::PermissionDenied.into() },
        ];
        for error in errors {
            assert_eq!(line(b"dev/null", error), "dev/null");
            assert_eq!(line(b"logs/[api].log", error), r"logs/\[api\].log");
            assert_eq!(line(b"#cache#", error), r"\#cache#");
            assert_eq!(line(b"caf\xe9", error), "caf?");
        }
    }
}
