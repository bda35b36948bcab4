//! Reading a Dockerfile or an ignore file.

use std::io::{self, Read};
use std::path::Path;

use crate::context::{ContextError, OpenDirectory};

/// The most that a Dockerfile or an ignore file may hold. They are kept in memory, and one that is
/// larger is something else.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Reads the file at `path`, relative to `boundary` or beneath it, which messages call `name`; `None` if it does not
/// exist. Follows symbolic links as long as they stay in `boundary`: what lies outside is not part of what the user
/// asked to build.
///
/// Links are followed by name first. What they led to is then opened without following any, so nobody can make it
/// something else in between.
pub(in crate::context) fn read_text(
    boundary: &OpenDirectory,
    path: &Path,
    name: &str,
) -> Result<Option<Vec<u8>>, ContextError> {
    let unreadable = |reason| ContextError::TextUnreadable { path: name.to_owned(), reason };
    let real = match boundary.path().join(path).canonicalize() {
        Ok(real) => real,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let Ok(real) = real.strip_prefix(boundary.path()) else {
        let boundary = boundary.path().to_owned();
        return Err(ContextError::LinkLeadsOut { path: name.to_owned(), boundary });
    };
    let opened = boundary.file(real).map_err(|error| {
        if is_missing(&error) { ContextError::Changed(name.into()) } else { unreadable(error) }
    });
    let Some((file, _)) = opened? else { return Err(ContextError::NotAFile(name.to_owned())) };
    let mut contents = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() as u64 > SIZE_LIMIT {
        return Err(ContextError::TooLarge { path: name.to_owned(), limit: SIZE_LIMIT });
    }
    Ok(Some(contents))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
