//! What the operating system says of an entry.

use std::io;

use super::super::manifest::{EXECUTABLE, ORDINARY};
use super::super::select::Selection;
use super::super::{Attributes, FileKind};

/// Whether something was there when its directory was listed, and is not, or is something else by now.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The mode of a file in the manifest.
pub(super) fn file_mode(attributes: &Attributes, selection: &Selection) -> u32 {
    match selection.preserves_permissions {
        true => attributes.mode,
        false if attributes.mode & 0o100 != 0 => EXECUTABLE,
        false => ORDINARY,
    }
}

/// What an entry is called that is neither a file nor a directory nor a link.
pub(super) fn special_kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Socket => "socket",
        FileKind::Fifo => "FIFO",
        FileKind::BlockDevice | FileKind::CharacterDevice => "device",
        _ => "special file",
    }
}
