use std::ops::Range;

use super::Key;
use garden_build_core::{Digest, Sha256};

/// The first line of an index. The digit is the version of what follows.
pub(super) const MAGIC: &[u8] = b"garden-build pack index 2\n";

/// What an index holds for each piece: its key, and the length of its member in four bytes, the lowest first.
const RECORD: usize = Key::LENGTH + 4;

/// What an index ends with: the SHA-256 of everything before and of the pack's name, so that it is of no use for another pack.
const CHECKSUM: usize = 32;

/// Which pieces a pack holds, in the order in which they are in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PackIndex {
    members: Vec<Member>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Member {
    key: Key,
    /// Where the member ends in the pack.
    end: u64,
}

/// Why an index is of no use. Without it the pack is not either: its pieces have to be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// It is something else, or in a format that this version does not know.
    #[error("it is not a pack's index, or one of another version")]
    Foreign,

    /// It is cut off, altered, or that of another pack.
    #[error("the pack's index is damaged, or is not its own")]
    Damaged,

    /// The pack is shorter or longer.
    #[error("the pack's index is about {indexed} bytes, but the pack has {size}")]
    Size {
        /// The sum of the members' lengths.
        indexed: u64,
        /// The pack's size.
        size: u64,
    },
}

impl PackIndex {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote for the `pack` of this name. Any other bytes are refused, and never take more
    /// memory than they have themselves.
    ///
    /// # Errors
    /// If the bytes are not an index, or not what was written for this pack.
    pub fn parse(bytes: &[u8], pack: &Digest) -> Result<Self, IndexError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(IndexError::Foreign)?;
        let (records, checksum) = rest.split_last_chunk::<CHECKSUM>().ok_or(IndexError::Damaged)?;
        let summed = &bytes[..MAGIC.len() + records.len()];
        if records.len() % RECORD != 0 || checksum_of(summed, pack).as_bytes() != checksum {
            return Err(IndexError::Damaged);
        }
        let mut index = Self::with_capacity(records.len() / RECORD);
        for record in records.chunks_exact(RECORD) {
            let (key, length) = record.split_first_chunk().ok_or(IndexError::Damaged)?;
            let length = length.try_into().map(u32::from_le_bytes).map_err(|_| IndexError::Damaged)?;
            if length == 0 {
                return Err(IndexError::Damaged);
            }
            index.push(Key::new(*key), length);
        }
        Ok(index)
    }

    /// Returns the index as it is kept for the `pack` of this name: 36 bytes for each piece, which do not compress.
    pub fn to_bytes(&self, pack: &Digest) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAGIC.len() + self.members.len() * RECORD + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        for (number, Member { key, .. }) in self.members.iter().enumerate() {
            bytes.extend_from_slice(key.as_bytes());
            // What was pushed has a length of four bytes.
            bytes.extend_from_slice(&self.length(number..number + 1).to_le_bytes()[..4]);
        }
        let checksum = checksum_of(&bytes, pack);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// Returns the size of the pack in bytes.
    pub fn pack_size(&self) -> u64 {
        self.members.last().map_or(0, |member| member.end)
    }

    /// Returns the number of pieces in the pack.
    pub fn piece_count(&self) -> usize {
        self.members.len()
    }

    pub(super) fn longest_member(&self) -> u64 {
        (0..self.members.len()).map(|piece| self.length(piece..piece + 1)).max().unwrap_or_default()
    }

    pub(super) fn with_capacity(pieces: usize) -> Self {
        Self { members: Vec::with_capacity(pieces) }
    }

    /// Adds a piece whose member is `length` bytes long.
    pub(super) fn push(&mut self, key: Key, length: u32) {
        self.members.push(Member { key, end: self.pack_size() + u64::from(length) });
    }

    /// Adds `pieces` of another index.
    pub(super) fn extend(&mut self, other: &Self, pieces: Range<usize>) {
        let shift = self.pack_size().wrapping_sub(other.offset(pieces.start));
        let members = other.members[pieces].iter();
        self.members.extend(members.map(|member| Member { end: member.end.wrapping_add(shift), ..*member }));
    }

    /// Returns the keys of all pieces from number `first` on.
    pub(super) fn keys_from(&self, first: usize) -> impl Iterator<Item = Key> {
        self.members[first..].iter().map(|member| member.key)
    }

    /// Returns where in the pack a piece begins.
    pub(super) fn offset(&self, piece: usize) -> u64 {
        piece.checked_sub(1).map_or(0, |before| self.members[before].end)
    }

    /// Returns how many pieces begin before the byte at `end`, which is not the first.
    pub(super) fn piece_at(&self, end: u64) -> usize {
        (self.members.partition_point(|member| member.end < end) + 1).min(self.members.len())
    }

    /// Returns how many bytes of the pack `pieces` take.
    pub(super) fn length(&self, pieces: Range<usize>) -> u64 {
        self.offset(pieces.end) - self.offset(pieces.start)
    }
}

pub(super) fn checksum_of(bytes: &[u8], pack: &Digest) -> Digest {
    let mut sum = Sha256::new();
    sum.update(bytes);
    sum.update(pack.as_bytes());
    sum.digest()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> Key {
        Key::new([number; Key::LENGTH])
    }

    fn index() -> PackIndex {
        let mut index = PackIndex::default();
        for (number, length) in [(1, 100), (2, u32::MAX), (3, 1), (1, 100)] {
            index.push(key(number), length);
        }
        index
    }

    fn pack() -> Digest {
        Digest::of(b"pack")
    }

    /// Anything, with the checksum that it should have.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let checksum = checksum_of(&bytes, &pack());
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    #[test]
    fn comes_back_as_it_was_written() {
        for index in [PackIndex::default(), index()] {
            assert_eq!(PackIndex::parse(&index.to_bytes(&pack()), &pack()), Ok(index));
        }
        assert_eq!(index().pack_size(), u64::from(u32::MAX) + 201);
        assert_eq!((index().offset(2), index().length(1..3)), (u64::from(u32::MAX) + 100, 1 << 32));
    }

    #[test]
    fn a_cut_or_altered_index_is_refused() {
        let bytes = index().to_bytes(&pack());
        for end in 0..bytes.len() {
            assert!(PackIndex::parse(&bytes[..end], &pack()).is_err(), "cut at {end}");
        }
        for bit in 0..8 * bytes.len() {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(PackIndex::parse(&altered, &pack()).is_err(), "bit {bit}");
        }
        assert_eq!(PackIndex::parse(&[&bytes[..], b"0"].concat(), &pack()), Err(IndexError::Damaged));
        assert_eq!(PackIndex::parse(&bytes, &Digest::of(b"another")), Err(IndexError::Damaged));
    }

    #[test]
    fn another_version_and_a_member_without_bytes_are_refused() {
        let future = [b"garden-build pack index 3\n", &index().to_bytes(&pack())[MAGIC.len()..]].concat();
        assert_eq!(PackIndex::parse(&future, &pack()), Err(IndexError::Foreign));
        assert_eq!(
            PackIndex::parse(&sealed([MAGIC, &[0; RECORD]].concat()), &pack()),
            Err(IndexError::Damaged)
        );
        assert_eq!(
            PackIndex::parse(&sealed([MAGIC, &[1; RECORD - 1]].concat()), &pack()),
            Err(IndexError::Damaged)
        );
    }

    #[test]
    fn a_part_of_an_index_is_appended_with_its_lengths() {
        let mut joined = PackIndex::default();
        joined.extend(&index(), 2..4);
        joined.extend(&index(), 0..1);
        let keys: Vec<Key> = joined.keys_from(0).collect();
        assert_eq!((keys, joined.offset(2), joined.pack_size()), (vec![key(3), key(1), key(1)], 101, 201));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_index_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), seal in any::<bool>()) {
            let bytes = [MAGIC, &bytes[..]].concat();
            let bytes = if seal { sealed(bytes) } else { bytes };
            if let Ok(index) = PackIndex::parse(&bytes, &pack()) {
                prop_assert_eq!(index.to_bytes(&pack()), bytes);
            }
        }
    }
}
