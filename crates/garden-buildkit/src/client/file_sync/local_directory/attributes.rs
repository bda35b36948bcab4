//! What the operating system knows of a file, as fsutil tells it (`stat_unix.go`, `stat_windows.go`).

use std::collections::HashMap;
use std::io;
use std::path::Path;

use garden_build_core::context::{Attributes, FileKind, OpenDirectory};

use super::super::stat::mode;

/// What two paths of the same file have in common.
pub(super) type FileId = (u64, u64);

/// Attributes of macOS that say nothing about the content.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const NOT_SENT: &str = "com.apple.";

/// Returns the mode as Go's `os.Lstat` does.
pub(super) fn mode(seen: &Attributes) -> u32 {
    let kind = match seen.kind {
        FileKind::Directory => mode::DIRECTORY,
        FileKind::Link => mode::SYMLINK,
        FileKind::BlockDevice => mode::DEVICE,
        FileKind::CharacterDevice => mode::DEVICE | mode::CHARACTER_DEVICE,
        FileKind::Fifo => mode::NAMED_PIPE,
        FileKind::Socket => mode::SOCKET,
        _ => 0,
    };
    let flags = [(0o4000, mode::SET_USER), (0o2000, mode::SET_GROUP), (0o1000, mode::STICKY)];
    let set = flags.iter().filter(|(bit, _)| seen.mode & bit != 0);
    set.fold(kind | (seen.mode & 0o777), |mode, (_, flag)| mode | flag)
}

/// Returns the major and the minor number of a device.
pub(super) fn device(seen: &Attributes) -> (i64, i64) {
    if !matches!(seen.kind, FileKind::BlockDevice | FileKind::CharacterDevice) {
        return (0, 0);
    }
    let device = seen.special;
    let number = |bits: u64| i64::try_from(bits).unwrap_or(0);
    (number((device >> 8) & 0xfff), number((device & 0xff) | ((device >> 12) & 0xf_ff00)))
}

/// Returns what identifies the file, if it has several paths.
pub(super) fn shared_file(seen: &Attributes) -> Option<FileId> {
    (seen.names > 1).then_some((seen.device, seen.inode))
}

/// Returns the extended attributes of a file or a directory, as far as it can be opened. What else there is has none
/// that a user could set.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(super) fn extended(
    directory: &OpenDirectory,
    name: &Path,
    kind: FileKind,
) -> io::Result<HashMap<String, Vec<u8>>> {
    let found = match kind {
        FileKind::File => directory.file(name).map(|opened| opened.map(|(file, _)| of_open(&file))),
        FileKind::Directory => directory.directory(name).map(|opened| Some(of_open(&opened))),
        _ => Ok(None),
    };
    match found {
        Ok(found) => found.unwrap_or_else(|| Ok(HashMap::new())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn of_open(file: &impl std::os::fd::AsFd) -> io::Result<HashMap<String, Vec<u8>>> {
    use rustix::fs::{fgetxattr, flistxattr};
    use rustix::io::Errno;
    let names = match filled(|buffer| flistxattr(file, buffer)) {
        Err(Errno::NOTSUP) => return Ok(HashMap::new()),
        names => names?,
    };
    let names = names.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let names = names.filter(|name| !name.is_empty() && !name.starts_with(NOT_SENT));
    // One that is not ours to read, or is gone, is left out.
    let values = names
        .filter_map(|name| Some((name.to_owned(), filled(|buffer| fgetxattr(file, name, buffer)).ok()?)));
    Ok(values.collect())
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(super) fn extended(_: &OpenDirectory, _: &Path, _: FileKind) -> io::Result<HashMap<String, Vec<u8>>> {
    Ok(HashMap::new())
}

/// Calls `read` with buffers of growing size until what it has to say fits.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn filled(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 512];
    loop {
        match read(&mut buffer) {
            Err(rustix::io::Errno::RANGE) => buffer.resize(buffer.len() * 4, 0),
            length => {
                buffer.truncate(length?);
                return Ok(buffer);
            }
        }
    }
}
