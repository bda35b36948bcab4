use std::fmt;
use std::ops::ControlFlow;

use garden_build_core::context::{Cancelled, Filter, PathBytes};

use super::{Stat, SyncError};

/// A tree of files that can be sent.
///
/// All methods may block, and are called on threads that may. Paths are relative, slash-separated, without
/// `.` or empty components, and not always UTF-8.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Returns the target of the symbolic link `path` as it is written; `None` if it is anything else, or
    /// nothing at all.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn link(&self, path: &PathBytes) -> Result<Option<PathBytes>, SyncError>;

    /// Returns the names in `directory`, sorted by their bytes; `.` is the source itself. There are none in
    /// what is not a directory.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn names(&self, directory: &str) -> Result<Vec<PathBytes>, SyncError>;

    /// Calls `each` for every entry that `filter` keeps: names in the order of their bytes, and a directory
    /// directly before what is in it. Ends early if `each` breaks off.
    ///
    /// # Errors
    /// If something cannot be listed, and [`ContextError::Cancelled`] soon after `cancelled` returns `true`.
    ///
    /// [`ContextError::Cancelled`]: garden_build_core::context::ContextError::Cancelled
    fn list(
        &self,
        filter: &Filter,
        cancelled: Cancelled<'_>,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), SyncError>;

    /// Opens an ordinary file that was listed.
    ///
    /// # Errors
    /// If it cannot be opened, or has changed since.
    fn open(&self, file: &Wanted) -> Result<Box<dyn Content>, SyncError>;
}

/// The content of a file, from its start to its end.
pub trait Content: Send {
    /// Appends up to `limit` bytes to `buffer`, fewer only at the end. Returns whether this was the end; if
    /// so, all that was read is what was listed, and nothing may be read after it.
    ///
    /// # Errors
    /// If the file cannot be read, or does not have the size or content that was listed.
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> Result<bool, SyncError>;
}

/// An entry of a [`Source`].
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// How it is described to the daemon.
    pub stat: Stat,
    /// What the source recognises it by.
    pub key: usize,
}

/// An ordinary file that the daemon may ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its path.
    pub path: PathBytes,
    /// Its size as listed.
    pub size: u64,
    /// The [`Listed::key`].
    pub key: usize,
}
