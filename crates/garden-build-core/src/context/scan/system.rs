//! What the operating system says of an entry.

use std::fs::{FileType, Metadata};
use std::io;

use super::super::manifest::{EXECUTABLE, ORDINARY};
use super::super::select::Selection;

/// Whether something was there when its directory was listed, and is not, or is something else by now.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The mode of a file in the manifest.
pub(super) fn file_mode(metadata: &Metadata, selection: &Selection) -> u32 {
    let mode = permissions(metadata);
    match selection.preserves_permissions {
        true => mode,
        false if mode & 0o100 != 0 => EXECUTABLE,
        false => ORDINARY,
    }
}

#[cfg(unix)]
pub(super) fn permissions(metadata: &Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

/// Windows has no such permissions. `BuildKit` sends every file as executable from there.
#[cfg(not(unix))]
pub(super) fn permissions(_: &Metadata) -> u32 {
    EXECUTABLE
}

/// What an entry is that is neither a file nor a directory nor a link.
#[cfg(unix)]
pub(super) fn special_kind(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    if file_type.is_socket() {
        "socket"
    } else if file_type.is_fifo() {
        "FIFO"
    } else {
        "device"
    }
}

#[cfg(not(unix))]
pub(super) fn special_kind(_: FileType) -> &'static str {
    "special file"
}
