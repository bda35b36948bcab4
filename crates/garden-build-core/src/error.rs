use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::printable::Printable;

/// The result of an operation of garden-build.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what class of failure an [`Error`] is, for callers that react differently to each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The project file or an option is wrong.
    Config,
    /// The build context or the Dockerfile cannot be used.
    Context,
    /// The build mode cannot do what the request asks for.
    Unsupported,
    /// A registry or the cluster refused the credentials, or had none.
    Unauthorized,
    /// The credentials are good but do not allow the operation.
    PermissionDenied,
    /// Something that has to exist does not.
    NotFound,
    /// A server could not be reached or broke off.
    Unreachable,
    /// The cluster refused an object: quota, admission policy, validation.
    Rejected,
    /// No node can take the builder.
    Unschedulable,
    /// The builder's own image cannot be pulled.
    ImagePull,
    /// The builder could not be started for another reason (volume, command, sandbox).
    BuilderStart,
    /// The builder ran out of memory.
    OutOfMemory,
    /// The builder was evicted from its node.
    Evicted,
    /// The builder vanished while it was building: deleted, or its node lost.
    BuilderLost,
    /// A step of the Dockerfile failed.
    BuildFailed {
        /// The Dockerfile instruction that failed, where it is known.
        step: Option<String>,
        /// The exit code of the step's command, or of the builder.
        exit_code: Option<i32>,
    },
    /// The image was built but could not be pushed.
    PushFailed,
    /// The build took longer than it was allowed.
    Timeout,
    /// The caller cancelled the build.
    Cancelled,
    /// A server answered something that it should not, or we have a defect.
    Unexpected,
}

/// What went wrong, what to do about it, and what the builder printed last.
///
/// The message names the thing that it concerns (file and line, namespace and pod, registry and
/// repository). Neither message, hint, log tail nor source ever holds a secret.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    log_tail: Vec<String>,
    retryable: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            log_tail: Vec::new(),
            retryable: false,
            source: None,
        }))
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner().hint = Some(hint.into());
        self
    }

    /// Adds the last lines that the builder printed.
    #[must_use]
    pub fn with_log_tail(mut self, lines: Vec<String>) -> Self {
        self.inner().log_tail = lines;
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner().source = Some(Arc::from(source.into()));
        self
    }

    /// Marks the error as one that may be gone if the same is tried again.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.inner().retryable = true;
        self
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// Returns the class of the failure.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Returns what happened, in one sentence, without the hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the last lines that the builder printed, oldest first; empty if it never ran.
    pub fn log_tail(&self) -> &[String] {
        &self.0.log_tail
    }

    /// Tells whether trying the same again may succeed. A failed build step is never retryable.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

/// For a terminal: what controls one in foreign words, such as the end of a log, is shown as text. [`message`](Error::message) and
/// [`log_tail`](Error::log_tail) have them as they came.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Printable::text(&self.0.message))?;
        if let Some(hint) = &self.0.hint {
            write!(f, "\n  help: {}", Printable::text(hint))?;
        }
        if !self.0.log_tail.is_empty() {
            f.write_str("\n  last lines of the log:")?;
            for line in &self.0.log_tail {
                write!(f, "\n    {}", Printable::line(line))?;
            }
        }
        Ok(())
    }
}

/// Says an error with its causes in one line, each once: many errors leave to their source what it is
/// about.
pub fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("hint", &self.0.hint)
            .field("log_tail", &self.0.log_tail)
            .field("retryable", &self.0.retryable)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_shown_and_kept_as_data() {
        let evil = "\x1b]0;t\x07\u{202e}a\rb";
        let error = Error::new(ErrorKind::Config, evil)
            .with_hint(evil)
            .with_log_tail(vec![format!("{evil}\n  help: forged")]);
        let shown = error.to_string();
        assert!(shown.chars().all(|shown| !shown.is_control() || shown == '\n'), "{shown:?}");
        assert!(!shown.contains('\u{202e}') && shown.lines().count() == 4, "{shown:?}");
        assert_eq!(error.message(), evil);
    }
}
