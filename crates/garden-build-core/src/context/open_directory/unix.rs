use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Attributes, FileKind, Listed};

/// How a directory is opened to be listed.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How a file is opened, so that neither the other end of a FIFO is waited for nor a terminal is taken.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// How a directory is opened that is only on the way.
#[cfg(any(target_os = "linux", target_os = "android"))]
const STEP: OFlags = OFlags::PATH.union(DIRECTORY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STEP: OFlags = DIRECTORY;

/// The descriptor of a directory.
#[derive(Debug)]
pub(super) struct Handle(OwnedFd);

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, DIRECTORY, Mode::empty())?))
    }

    pub(super) fn directory(&self, path: &Path) -> io::Result<Self> {
        Ok(Self(open_beneath(self.as_fd(), path, DIRECTORY)?))
    }

    /// Opens what is at `path`. `None` if it is nothing that can be opened, such as a socket.
    pub(super) fn file(&self, path: &Path) -> io::Result<Option<(File, Attributes)>> {
        match open_beneath(self.as_fd(), path, FILE) {
            Ok(file) => {
                let attributes = described(&rustix::fs::fstat(&file)?);
                Ok(Some((file.into(), attributes)))
            }
            Err(Errno::NXIO | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in Dir::read_from(self)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let kind = match entry.file_type() {
                    FileType::Unknown => None,
                    file_type => Some(kind_of(file_type)),
                };
                listed.push(Listed { name: OsString::from_vec(name.to_vec()), kind, inode: entry.ino() });
            }
        }
        Ok(listed)
    }

    pub(super) fn attributes(&self, name: &OsStr) -> io::Result<Attributes> {
        Ok(described(&rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    pub(super) fn own_attributes(&self) -> io::Result<Attributes> {
        Ok(described(&rustix::fs::fstat(self)?))
    }

    pub(super) fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(self, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens what is at `path` in `directory`, unless a link is part of the path.
fn open_beneath(directory: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    match at_once(directory, path, flags).unwrap_or_else(|| step_by_step(directory, path, flags)) {
        // How systems say that there is a link, or that the path leads up: nothing of the name is in this directory.
        Err(Errno::LOOP | Errno::MLINK | Errno::XDEV) => Err(Errno::NOTDIR),
        opened => opened,
    }
}

/// `None` if the system cannot do this: before Linux 5.6, or in a container whose filter of system calls is older.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn at_once(directory: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Option<rustix::io::Result<OwnedFd>> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => None,
        opened => Some(opened),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn at_once(_: BorrowedFd<'_>, _: &Path, _: OFlags) -> Option<rustix::io::Result<OwnedFd>> {
    None
}

/// Opens `path` beneath `directory` with a descriptor for each directory on the way, where `openat2` is missing.
fn step_by_step(directory: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut above: Option<OwnedFd> = None;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        let at = above.as_ref().map_or(directory, AsFd::as_fd);
        let is_last = components.peek().is_none();
        let opened = rustix::fs::openat(at, name, if is_last { flags } else { STEP }, Mode::empty())?;
        if is_last {
            return Ok(opened);
        }
        above = Some(opened);
    }
    Err(Errno::NOENT)
}

// The types of these fields differ between systems.
#[allow(
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::unnecessary_cast
)]
fn described(stat: &Stat) -> Attributes {
    #[cfg(not(target_os = "netbsd"))]
    let (modified, changed) = (stat.st_mtime_nsec as i64, stat.st_ctime_nsec as i64);
    #[cfg(target_os = "netbsd")]
    let (modified, changed) = (stat.st_mtimensec as i64, stat.st_ctimensec as i64);
    Attributes {
        kind: kind_of(FileType::from_raw_mode(stat.st_mode as _)),
        mode: stat.st_mode as u32 & 0o7777,
        size: stat.st_size as u64,
        modified: time(stat.st_mtime as i64, modified),
        changed: (stat.st_ctime as i64).wrapping_mul(1_000_000_000).wrapping_add(changed),
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        names: stat.st_nlink as u64,
        special: stat.st_rdev as u64,
    }
}

fn kind_of(file_type: FileType) -> FileKind {
    match file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::CharacterDevice => FileKind::CharacterDevice,
        FileType::Unknown => FileKind::Other,
    }
}

/// The time `seconds` since 1970, which are negative before, and `nanoseconds` after that.
fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    let rest = Duration::from_nanos(nanoseconds.unsigned_abs());
    second.and_then(|second| second.checked_add(rest)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Opens a file both ways, and returns the kinds of error.
    pub(in super::super) fn both(directory: &Handle, path: &str) -> [Option<Errno>; 2] {
        let path = Path::new(path);
        let directory = directory.as_fd();
        let at_once = at_once(directory, path, FILE).unwrap_or_else(|| step_by_step(directory, path, FILE));
        [at_once.err(), step_by_step(directory, path, FILE).err()]
    }
}
