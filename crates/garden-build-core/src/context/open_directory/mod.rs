//! Directories that are open, and what is in them.
//!
//! A path that is looked up twice may lead to two places: whoever can write to a context may exchange a directory for
//! a link between the moment when it was found and the moment when it is read. So everything is reached from the
//! descriptor of the context directory, and no link on the way is followed. What has become a link meanwhile is not
//! there any more.
//!
//! Why: docs/decisions/09-a-context-is-a-descriptor.md

#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod unix;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

#[cfg(not(unix))]
use self::elsewhere::Handle;
#[cfg(unix)]
use self::unix::Handle;

/// A directory that is open. Cheap to clone.
///
/// Paths are relative to it. A path that a link is part of, or that leads up, is answered as one that is not there
/// ([`NotADirectory`](io::ErrorKind::NotADirectory)). Elsewhere than on Unix there is nothing to descend by, so there
/// an exchange between two moments may be missed.
#[derive(Clone, Debug)]
pub struct OpenDirectory {
    path: Arc<Path>,
    handle: Arc<Handle>,
}

/// What a directory lists.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name.
    pub name: OsString,
    /// What it is, if the file system lists that.
    kind: Option<FileKind>,
    /// The inode, or 0 elsewhere than on Unix.
    pub(super) inode: u64,
}

/// What something in a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FileKind {
    /// An ordinary file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// Something else.
    Other,
}

/// What the operating system says of something in a directory, without following a link.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attributes {
    /// What it is.
    pub kind: FileKind,
    /// The permissions and the bits beside them (`0o7777`). Windows has none, so there everything is executable, as for
    /// `BuildKit`.
    pub mode: u32,
    /// How many bytes it has.
    pub size: u64,
    /// When its content was last changed.
    pub modified: SystemTime,
    /// When anything of it was last changed (`ctime`), in nanoseconds since 1970; 0 elsewhere than on Unix.
    pub changed: i64,
    /// The device that it lies on; 0 elsewhere than on Unix.
    pub device: u64,
    /// Its number on that device; 0 elsewhere than on Unix.
    pub inode: u64,
    /// How many names it has; 1 elsewhere than on Unix.
    pub names: u64,
    /// The number of the device that it is, if it is one.
    pub special: u64,
}

impl OpenDirectory {
    /// Opens the directory at `path`, which may lead through links.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        Ok(Self { handle: Arc::new(Handle::open(&path)?), path: path.into() })
    }

    /// Returns where it was when it was opened: an absolute path without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory at `path`; if that is empty, this one again.
    ///
    /// # Errors
    /// If there is none any more, or it cannot be read.
    pub fn directory(&self, path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Ok(self.clone());
        }
        let handle = Arc::new(self.handle.directory(path)?);
        Ok(Self { handle, path: self.path.join(path).into() })
    }

    /// Opens the ordinary file at `path` to be read. `None` if it is something else; the other end of a FIFO is not
    /// waited for.
    ///
    /// # Errors
    /// If it is not there any more, or cannot be read.
    pub fn file(&self, path: &Path) -> io::Result<Option<(File, Attributes)>> {
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let Some((file, attributes)) = self.handle.file(path)? else { return Ok(None) };
        Ok((attributes.kind == FileKind::File).then_some((file, attributes)))
    }

    /// Lists what is in it, in the order of the names' bytes.
    ///
    /// # Errors
    /// If the system cannot list it.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = self.handle.list()?;
        listed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// Returns what something that it lists is.
    ///
    /// # Errors
    /// If the file system does not list that, and it is not there any more.
    pub fn kind(&self, listed: &Listed) -> io::Result<FileKind> {
        match listed.kind {
            Some(kind) => Ok(kind),
            None => Ok(self.attributes(Path::new(&listed.name))?.kind),
        }
    }

    /// Returns what the system says of what is at `path`.
    ///
    /// # Errors
    /// If it is not there any more.
    pub fn attributes(&self, path: &Path) -> io::Result<Attributes> {
        self.in_parent(path, Handle::attributes)
    }

    /// Returns what the system says of the directory itself.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn own_attributes(&self) -> io::Result<Attributes> {
        self.handle.own_attributes()
    }

    /// Returns what the link at `path` leads to.
    ///
    /// # Errors
    /// If there is no link.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.in_parent(path, Handle::read_link)
    }

    /// Asks for what is directly in a directory.
    fn in_parent<T>(&self, path: &Path, ask: impl Fn(&Handle, &OsStr) -> io::Result<T>) -> io::Result<T> {
        let name = path.file_name().ok_or(io::ErrorKind::NotADirectory)?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => ask(&self.handle.directory(parent)?, name),
            _ => ask(&self.handle, name),
        }
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for OpenDirectory {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

#[cfg(all(test, unix))]
mod tests;
