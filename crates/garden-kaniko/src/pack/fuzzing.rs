//! What a context service keeps of packs, and what this machine knows of them.

use std::iter;

use garden_build_core::Digest;

use super::index::{MAGIC, checksum_of};
use super::piece::Piece;
use super::{KnownPacks, PackIndex, Segments};

/// Reads an index as it is, and the same bytes with the beginning and the checksum of one, followed by the digests of segments.
///
/// # Panics
/// If an index or segments are not those that are written, or name other pieces.
pub fn pack_index(data: &[u8]) {
    let pack = Digest::of(b"pack");
    look_into(data, &pack, &[]);
    // Two bytes say where the index ends.
    let Some((length, rest)) = data.split_first_chunk() else { return };
    let (records, segments) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let mut sealed = [MAGIC, records].concat();
    let checksum = checksum_of(&sealed, &pack);
    sealed.extend_from_slice(checksum.as_bytes());
    look_into(&sealed, &pack, segments);
}

fn look_into(bytes: &[u8], pack: &Digest, segments: &[u8]) {
    let Ok(index) = PackIndex::parse(bytes, pack) else { return };
    assert_eq!(index.to_bytes(pack), bytes);
    let segments = Segments::parse(segments, &index).inspect(|read| assert_eq!(read.to_bytes(), segments));
    if let Some(segments) = &segments {
        let starts = iter::successors(Some(0), |start| segments.beginning_at(*start).map(|(end, _)| end));
        assert_eq!(starts.last(), Some(index.pack_size()), "the segments have a gap");
    }
    let mut known = KnownPacks::new();
    if known.add(*pack, index.pack_size(), index.clone(), segments).is_err() {
        return;
    }
    let wanted: Vec<Piece> = index.keys_from(0).map(|key| Piece { key, content: 0 }).collect();
    for start in 0..wanted.len().min(8) {
        let found = known.longest(&wanted[start..]).expect("a piece of the pack");
        let keys = index.keys_from(found.pieces.start).take(found.pieces.len());
        assert!(keys.eq(wanted[start..].iter().map(|piece| piece.key).take(found.pieces.len())));
        assert!(index.offset(found.pieces.start) + index.length(found.pieces) <= index.pack_size());
    }
}
