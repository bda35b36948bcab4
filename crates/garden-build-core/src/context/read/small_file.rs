//! Reading a Dockerfile or an ignore file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::context::ContextError;

/// The most that a Dockerfile or an ignore file may hold. They are kept in memory, and one that is
/// larger is something else.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Reads `file`, which messages call `name`; `None` if it does not exist. Follows symbolic links as
/// long as they stay in `boundary`: what lies outside is not part of what the user asked to build.
pub(in crate::context) fn read_text(
    boundary: &Path,
    file: &Path,
    name: &str,
) -> Result<Option<Vec<u8>>, ContextError> {
    let unreadable = |reason| ContextError::TextUnreadable { path: name.to_owned(), reason };
    let real = match file.canonicalize() {
        Ok(real) => real,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    if !real.starts_with(boundary) {
        return Err(ContextError::LinkLeadsOut { path: name.to_owned(), boundary: boundary.to_owned() });
    }
    // Asked before opening, because opening a FIFO waits for a writer.
    if !fs::metadata(&real).map_err(unreadable)?.is_file() {
        return Err(ContextError::NotAFile(name.to_owned()));
    }
    let mut contents = Vec::new();
    let file = File::open(&real).map_err(unreadable)?;
    file.take(SIZE_LIMIT + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() as u64 > SIZE_LIMIT {
        return Err(ContextError::TooLarge { path: name.to_owned(), limit: SIZE_LIMIT });
    }
    Ok(Some(contents))
}
