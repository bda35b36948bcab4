use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::hint::{Hint, HintCode, Remedy};
pub use self::kind::ErrorKind;
use crate::printable::Printable;

mod hint;
mod kind;
mod wire;

/// The result of an operation of garden-build.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, what to do about it, and what the builder printed last.
///
/// The message names the thing that it concerns (file and line, namespace and pod, registry and
/// repository). Neither message, hint, log tail nor source ever holds a secret.
///
/// Copies share what they say. Serialised, it is an object with `kind`, `message`, `hint`, `logTail`, `retryable`, `failedStep` and
/// `causes`; what comes back from that says the same, with its causes as text.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<Hint>,
    log_tail: Vec<String>,
    retryable: bool,
    failed_step: Option<FailedStep>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The step of a Dockerfile that failed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FailedStep {
    /// The Dockerfile instruction that failed, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// The exit code of the step's command, or of the builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

impl FailedStep {
    /// Describes which instruction failed, and with which exit code, as far as either is known.
    pub fn new(instruction: Option<String>, exit_code: Option<i32>) -> Self {
        Self { instruction, exit_code }
    }
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
            failed_step: None,
            source: None,
        }))
    }

    /// Creates an error of [`ErrorKind::BuildFailed`]: `step` failed, as `message` says.
    pub fn build_failed(step: FailedStep, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::BuildFailed, message);
        error.inner().failed_step = Some(step);
        error
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Hint>) -> Self {
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
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns what happened, in one sentence, without the hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns what the user can do about it, in words for people.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_ref().map(|hint| hint.text.as_str())
    }

    /// Returns what the user can do about it, as data: with a code and the names of options.
    pub fn hint_data(&self) -> Option<&Hint> {
        self.0.hint.as_ref()
    }

    /// Returns the last lines that the builder printed, oldest first; empty if it never ran.
    pub fn log_tail(&self) -> &[String] {
        &self.0.log_tail
    }

    /// Returns whether trying the same again may succeed. A failed build step is never retryable.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns the step of the Dockerfile that failed, if one did.
    pub fn failed_step(&self) -> Option<&FailedStep> {
        self.0.failed_step.as_ref()
    }

    /// Returns what the causes of this error say that it does not say itself, the nearest first.
    fn causes(&self) -> Vec<String> {
        causes_of(&self.0.message, self.source())
    }
}

/// For a terminal: what controls one in foreign words, such as the end of a log, is shown as text. [`message`](Error::message) and
/// [`log_tail`](Error::log_tail) have them as they came.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(&self.0.message, f)
    }
}

/// Shows the same as `Display`, with the causes: this is what a `main` that returns an error prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(&joined(&self.0.message, &self.causes()), f)
    }
}

impl Error {
    fn show(&self, message: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Printable::text(message))?;
        if let Some(hint) = self.hint() {
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

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Formats an error with its causes in one line, each once: many errors leave to their source what it is
/// about.
pub fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let text = said(error);
    let causes = causes_of(&text, error.source());
    joined(&text, &causes)
}

/// Makes the `Debug` of error types what a `main` that returns one should print: the error with its causes, as [`with_causes`] says it.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_with_causes {
    ($($error:ty),+ $(,)?) => {
        $(
            impl ::std::fmt::Debug for $error {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    f.write_str(&$crate::with_causes(self))
                }
            }
        )+
    };
}

fn joined(message: &str, causes: &[String]) -> String {
    let parts: Vec<_> = std::iter::once(message).chain(causes.iter().map(String::as_str)).collect();
    parts.join(": ")
}

/// Returns what `source` and its own causes say that neither `message` nor one before them says.
fn causes_of(message: &str, mut source: Option<&(dyn StdError + 'static)>) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    while let Some(cause) = source {
        let text = said(cause);
        // The second is the same with more lines, such as those of the file that it is about.
        let is_said = message.contains(&text)
            || text.strip_prefix(message).is_some_and(|more| more.starts_with('\n'))
            || causes.iter().any(|earlier| earlier.contains(&text));
        if !is_said {
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}

/// Returns what happened, without hint and log.
fn said(error: &(dyn StdError + 'static)) -> String {
    match error.downcast_ref::<Error>() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
