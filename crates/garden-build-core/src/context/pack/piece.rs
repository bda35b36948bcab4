use std::{fmt, iter};

use crate::Digest;
use tar::EntryType;

use crate::context::tar_header::TarHeader;
use crate::context::{Entry, EntryKind, Manifest};
use crate::version::FramedHasher;

/// The most content that a piece holds, in bytes. Large enough that compression loses nothing and small
/// enough that many threads can each have one in memory.
pub(super) const BLOCK: u32 = 512 * 1024;

/// Stands for the bytes of a piece: pieces with equal keys are equal.
///
/// Follows from an entry's path, type, mode and size, or from the digest of a file's content and a place
/// in it, so no file has to be read for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; Self::LENGTH]);

impl Key {
    pub(super) const LENGTH: usize = 32;

    pub(super) fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The key of an entry's header. Whoever changes what [`TarHeader`] writes changes the name of this hash.
    ///
    /// Numbers are one field: they have fixed lengths, and each field takes time.
    fn of_header(header: &TarHeader<'_>) -> Self {
        let mut numbers = [header.entry_type.as_byte(); 13];
        numbers[1..5].copy_from_slice(&header.mode.to_be_bytes());
        numbers[5..].copy_from_slice(&header.size.to_be_bytes());
        let mut hasher = FramedHasher::new("garden-build header 1");
        hasher.field("kind", &numbers);
        hasher.field("path", header.path.as_bytes());
        if header.entry_type == EntryType::Symlink {
            hasher.field("target", header.target.as_bytes());
        }
        Self(*hasher.finish().as_bytes())
    }

    /// The key of a block of the content with `digest`.
    fn of_block(digest: Digest, offset: u64, length: u32) -> Self {
        let mut place = [0; 12];
        place[..8].copy_from_slice(&offset.to_be_bytes());
        place[8..].copy_from_slice(&length.to_be_bytes());
        let mut hasher = FramedHasher::new("garden-build block 1");
        hasher.field("content", digest.as_bytes());
        hasher.field("place", &place);
        Self(*hasher.finish().as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Digest::from_sha256(self.0).hex())
    }
}

/// A part of a context's archive that becomes a member of a gzip file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) key: Key,
    /// How many bytes of its file's content it holds.
    pub(super) content: u32,
}

/// Which part of an entry a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Header,
    /// A block of content, with the padding if it is the last.
    Block {
        offset: u64,
        length: u32,
    },
}

/// Cuts an entry into pieces.
pub(super) fn parts(entry: &Entry) -> impl Iterator<Item = Part> + Send + use<> {
    let size = match entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    };
    let blocks = (0..size).step_by(BLOCK as usize).map(move |offset| {
        let length = u32::try_from(size - offset).map_or(BLOCK, |rest| rest.min(BLOCK));
        Part::Block { offset, length }
    });
    iter::once(Part::Header).chain(blocks)
}

/// Returns all pieces of a context, in the order of its archive.
pub(super) fn pieces(manifest: &Manifest) -> Vec<Piece> {
    let entries = manifest.entries();
    let mut pieces = Vec::with_capacity(2 * entries.len());
    for entry in entries {
        pieces.extend(parts(&entry).map(|part| match (part, &entry.kind) {
            (Part::Block { offset, length }, EntryKind::File { digest, .. }) => {
                Piece { key: Key::of_block(*digest, offset, length), content: length }
            }
            _ => Piece { key: Key::of_header(&TarHeader::of(&entry)), content: 0 },
        }));
    }
    pieces
}
