//! What the operating system knows of a file, as fsutil tells it (`stat_unix.go`, `stat_windows.go`).

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::Path;

use super::super::stat::mode;

/// What two paths of the same file have in common.
pub(super) type FileId = (u64, u64);

/// Attributes of macOS that say nothing about the content.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const NOT_SENT: &str = "com.apple.";

/// Returns the mode as Go's `os.Lstat` does.
#[cfg(unix)]
pub(super) fn mode(metadata: &Metadata) -> u32 {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let (system, file_type) = (metadata.permissions().mode(), metadata.file_type());
    let flags = [
        (file_type.is_dir(), mode::DIRECTORY),
        (file_type.is_symlink(), mode::SYMLINK),
        (file_type.is_block_device(), mode::DEVICE),
        (file_type.is_char_device(), mode::DEVICE | mode::CHARACTER_DEVICE),
        (file_type.is_fifo(), mode::NAMED_PIPE),
        (file_type.is_socket(), mode::SOCKET),
        (system & 0o4000 != 0, mode::SET_USER),
        (system & 0o2000 != 0, mode::SET_GROUP),
        (system & 0o1000 != 0, mode::STICKY),
    ];
    flags.iter().filter(|(is_set, _)| *is_set).fold(system & 0o777, |mode, (_, flag)| mode | flag)
}

/// Windows has no permissions: `BuildKit`'s client makes everything executable.
#[cfg(not(unix))]
pub(super) fn mode(metadata: &Metadata) -> u32 {
    let kind = if metadata.is_dir() {
        mode::DIRECTORY
    } else if metadata.is_symlink() {
        mode::SYMLINK
    } else {
        0
    };
    kind | 0o755
}

/// Returns the major and the minor number of a device.
#[cfg(unix)]
pub(super) fn device(metadata: &Metadata) -> (i64, i64) {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let file_type = metadata.file_type();
    if !file_type.is_block_device() && !file_type.is_char_device() {
        return (0, 0);
    }
    let device = metadata.rdev();
    let number = |bits: u64| i64::try_from(bits).unwrap_or(0);
    (number((device >> 8) & 0xfff), number((device & 0xff) | ((device >> 12) & 0xf_ff00)))
}

#[cfg(not(unix))]
pub(super) fn device(_: &Metadata) -> (i64, i64) {
    (0, 0)
}

/// Returns what identifies the file, if it has several paths.
#[cfg(unix)]
pub(super) fn shared_file(metadata: &Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    (metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(super) fn shared_file(_: &Metadata) -> Option<FileId> {
    None
}

/// Returns the extended attributes of the entry itself, not of what it links to.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(super) fn extended(path: &Path) -> io::Result<HashMap<String, Vec<u8>>> {
    use rustix::fs::{lgetxattr, llistxattr};
    use rustix::io::Errno;
    let names = match filled(|buffer| llistxattr(path, buffer)) {
        Err(Errno::NOTSUP) => return Ok(HashMap::new()),
        names => names?,
    };
    let names = names.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let names = names.filter(|name| !name.is_empty() && !name.starts_with(NOT_SENT));
    // One that is not ours to read, or is gone, is left out.
    let values = names
        .filter_map(|name| Some((name.to_owned(), filled(|buffer| lgetxattr(path, name, buffer)).ok()?)));
    Ok(values.collect())
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(super) fn extended(_: &Path) -> io::Result<HashMap<String, Vec<u8>>> {
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
