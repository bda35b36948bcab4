//! What is behind an error.

use std::error::Error as StdError;
use std::io;

/// Walks from an error to its causes. It walks into `io::Error` as well, whose `source` skips what it wraps.
pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        if let Some(wrapped) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            return Some(wrapped as &(dyn StdError + 'static));
        }
        error.source()
    })
}

/// Returns what the innermost error says, because the outer ones of an HTTP client only say where.
pub(crate) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map_or_else(String::new, ToString::to_string)
}
