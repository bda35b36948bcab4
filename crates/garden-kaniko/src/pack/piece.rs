use std::{fmt, iter};

use garden_build_core::context::{Entry, EntryKind, Manifest, TarHeader};
use garden_build_core::{Digest, FramedHasher};

/// The type flag of a symbolic link.
const SYMBOLIC_LINK: u8 = b'2';

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
        let mut numbers = [header.type_flag(); 13];
        numbers[1..5].copy_from_slice(&header.mode.to_be_bytes());
        numbers[5..].copy_from_slice(&header.size.to_be_bytes());
        let mut hasher = FramedHasher::new("garden-build header 1");
        hasher.field("kind", &numbers);
        hasher.field("path", &header.path);
        if header.type_flag() == SYMBOLIC_LINK {
            hasher.field("target", header.target);
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn entry(path: &str, mode: u32, kind: EntryKind) -> Entry {
        Entry { path: path.into(), mode, kind, modified: SystemTime::UNIX_EPOCH }
    }

    fn file(path: &str, mode: u32, size: u64) -> Entry {
        entry(path, mode, EntryKind::File { size, digest: Digest::of(b"") })
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, 0o777, EntryKind::Symlink { target: target.into() })
    }

    fn entries() -> Vec<Entry> {
        vec![
            entry("a", 0o755, EntryKind::Directory),
            file("a", 0o755, 0),
            file("a", 0o644, 0),
            file("a", 0o644, 1),
            file("b", 0o644, 0),
            file(&"n".repeat(101), 0o644, 0),
            file("a", 0o644, 1 << 33),
            link("a", "b"),
            link("ab", ""),
            link("a", "é"),
        ]
    }

    #[test]
    fn headers_that_differ_have_different_keys() {
        let keys: Vec<Key> = entries().iter().map(|entry| Key::of_header(&TarHeader::of(entry))).collect();
        for (number, key) in keys.iter().enumerate() {
            assert!(!keys[..number].contains(key), "{number}");
        }
    }

    /// Services have headers of earlier versions. If this fails because headers are written otherwise, their keys
    /// need another name as well.
    #[test]
    fn keys_and_the_headers_that_they_stand_for_change_together() {
        let (mut headers, mut keys) = (Vec::new(), Vec::new());
        for entry in entries() {
            let header = TarHeader::of(&entry);
            header.append_to(&mut headers);
            keys.extend_from_slice(Key::of_header(&header).as_bytes());
        }
        let (headers, keys) = (Digest::of(&headers).hex(), Digest::of(&keys).hex());
        assert_eq!(headers, "83ad1b49974383e513d70c9b3c7afbbd71ac3eeea2aa81ee904890ba472af01b");
        assert_eq!(keys, "e1e4b65ab875ce6d53c2f93e15e5190c7aae7b233a7150e1eb450f68433c85a0");
    }

    #[test]
    fn blocks_cover_a_file_without_gap_or_overlap() {
        let block = u64::from(BLOCK);
        for size in [0, 1, block - 1, block, block + 1, 3 * block, 10 * block + 7] {
            let mut end = 0;
            for part in parts(&file("a", 0o644, size)).skip(1) {
                let Part::Block { offset, length } = part else { panic!("a second header") };
                assert!(offset == end && length > 0 && length <= BLOCK);
                end += u64::from(length);
            }
            assert_eq!(end, size);
        }
    }
}
