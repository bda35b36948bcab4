//! Errors as data that travels: from a service to its clients.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, ErrorKind, FailedStep, Hint};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    kind: ErrorKind,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<Hint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log_tail: Vec<String>,
    #[serde(default)]
    retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed_step: Option<FailedStep>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = &*self.0;
        Wire {
            kind: inner.kind,
            message: inner.message.clone(),
            hint: inner.hint.clone(),
            log_tail: inner.log_tail.clone(),
            retryable: inner.retryable,
            failed_step: inner.failed_step.clone(),
            causes: self.causes(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { kind, message, hint, log_tail, retryable, failed_step, causes } =
            Wire::deserialize(deserializer)?;
        let mut error = Self::new(kind, message).with_log_tail(log_tail);
        let inner = error.inner();
        inner.hint = hint;
        inner.retryable = retryable;
        inner.failed_step = failed_step;
        Ok(match Cause::chain(causes) {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }
}

/// How many causes of an error from another program are kept. Each owns the next, so a hostile service could otherwise make a chain that
/// exhausts the stack when it is dropped.
const MOST_CAUSES: usize = 32;

/// A cause that is known by its words only.
#[derive(Debug)]
struct Cause {
    text: String,
    next: Option<Box<Cause>>,
}

impl Cause {
    fn chain(texts: Vec<String>) -> Option<Self> {
        let nearest = texts.into_iter().take(MOST_CAUSES);
        nearest.rev().fold(None, |next, text| Some(Self { text, next: next.map(Box::new) }))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.next.as_deref().map(|next| next as _)
    }
}
