//! The files of an image's layer.

use std::path::{Path, PathBuf};

/// A member of the layer; its path has no leading slash.
#[derive(Debug)]
pub(super) enum Entry {
    Directory { path: String, mode: u32, owner: u32 },
    File { path: String, mode: u32, content: Content, capability: Option<Capability> },
    Link { path: String, target: String },
}

/// What is in a file.
#[derive(Debug)]
pub(super) enum Content {
    Text(&'static str),
    CopyOf(PathBuf),
}

/// A Linux capability that a program has whoever runs it; its number is the kernel's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Capability {
    SetGid = 6,
    SetUid = 7,
}

impl Capability {
    /// The attribute `security.capability` as `setcap cap_…=ep` writes it: `struct vfs_cap_data` of
    /// `linux/capability.h`, revision 2.
    pub(super) fn attribute(self) -> Vec<u8> {
        const REVISION_2: u32 = 0x0200_0000;
        const EFFECTIVE: u32 = 1;
        [REVISION_2 | EFFECTIVE, 1 << self as u32, 0, 0, 0].map(u32::to_le_bytes).concat()
    }
}

pub(super) fn directory(path: &str, mode: u32) -> Entry {
    directory_of(path, mode, 0)
}

/// A directory that belongs to the user and the group of this number.
pub(super) fn directory_of(path: &str, mode: u32, owner: u32) -> Entry {
    Entry::Directory { path: path.to_owned(), mode, owner }
}

pub(super) fn copy(path: &str, source: &Path, mode: u32) -> Entry {
    file(path, mode, Content::CopyOf(source.to_owned()), None)
}

pub(super) fn copy_with_capability(path: &str, source: &Path, capability: Capability) -> Entry {
    file(path, 0o755, Content::CopyOf(source.to_owned()), Some(capability))
}

pub(super) fn text(path: &str, text: &'static str, mode: u32) -> Entry {
    file(path, mode, Content::Text(text), None)
}

fn file(path: &str, mode: u32, content: Content, capability: Option<Capability>) -> Entry {
    Entry::File { path: path.to_owned(), mode, content, capability }
}

pub(super) fn link(path: &str, target: &str) -> Entry {
    Entry::Link { path: path.to_owned(), target: target.to_owned() }
}
