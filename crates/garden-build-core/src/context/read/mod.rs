//! Opening and reading the files of a context.

mod checked_file;
mod small_file;

use std::fs::File;
use std::io::{self, Read};

pub use self::checked_file::CheckedFile;
pub(super) use self::small_file::read_text;
use super::{Attributes, ContextError, OpenDirectory, PathBytes};

/// What is read at once, per thread.
pub(super) const BUFFER: usize = 128 * 1024;

/// Opens the ordinary file `path` of the context. If it, or a directory on the way to it, has become a link, a FIFO or
/// anything else since the walk, it is not followed, and is reported as changed.
pub(super) fn open(root: &OpenDirectory, path: &PathBytes) -> Result<(File, Attributes), ContextError> {
    let opened = path.as_path().and_then(|path| root.file(path));
    opened
        .map_err(|error| ContextError::reading(path, error))?
        .ok_or_else(|| ContextError::Changed(path.clone()))
}

/// Reads what is there, however often the system is interrupted.
pub(super) fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
