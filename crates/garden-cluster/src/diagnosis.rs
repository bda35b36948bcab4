//! What stands in the way of a pod, or ended it.

use std::fmt;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind};

/// Why a pod cannot run, or died.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    /// The class of the failure.
    pub kind: ErrorKind,
    /// What happened, naming the pod.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the same may succeed when it is tried again.
    pub retryable: bool,
}

impl Diagnosis {
    pub(crate) fn new(kind: ErrorKind, message: String, hint: &str) -> Self {
        Self { kind, message, hint: Some(hint.to_owned()), retryable: false }
    }

    pub(crate) fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Diagnosis> for Error {
    fn from(diagnosis: Diagnosis) -> Self {
        let mut error = Self::new(diagnosis.kind, diagnosis.message);
        if let Some(hint) = diagnosis.hint {
            error = error.with_hint(hint);
        }
        if diagnosis.retryable { error.retryable() } else { error }
    }
}

/// Something that keeps a pod from starting, and how long it may last before it is taken for final.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// What it is.
    pub diagnosis: Diagnosis,
    /// How long it may last.
    pub grace: Duration,
}
