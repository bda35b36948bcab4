//! Opening and reading the files of a context.

mod checked_file;
mod small_file;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

pub use self::checked_file::CheckedFile;
pub(super) use self::small_file::read_text;
use super::{ContextError, PathBytes};

/// What is read at once, per thread.
pub(super) const BUFFER: usize = 128 * 1024;

/// Opens the ordinary file `path` of the context. If it has become a link, a FIFO or anything else
/// since the walk, it is not followed, and is reported as changed.
///
/// This holds for the last component of `path` only: a directory on the way to it that has become a
/// link is followed. A file that was digested before still has to have the same digest.
pub(super) fn open(root: &Path, path: &PathBytes) -> Result<(File, Metadata), ContextError> {
    let reading = |error| ContextError::reading(path, error);
    let changed = || ContextError::Changed(path.clone());
    let file = open_itself(&root.join(path.as_path().map_err(reading)?)).map_err(reading)?;
    let file = file.ok_or_else(changed)?;
    let metadata = file.metadata().map_err(reading)?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(changed()) }
}

/// Opens what is at `path`, and neither follows a link nor waits for the other end of a FIFO. `None` if it is
/// a link, or nothing that can be opened.
#[cfg(unix)]
fn open_itself(path: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::LOOP | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn open_itself(path: &Path) -> io::Result<Option<File>> {
    let is_link = std::fs::symlink_metadata(path)?.is_symlink();
    if is_link { Ok(None) } else { File::open(path).map(Some) }
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
