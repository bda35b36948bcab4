use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::piece::Piece;
use super::{IndexError, Key, PackIndex, Segments};
use garden_build_core::Digest;

/// How many places that may hold a piece are looked at. A damaged or malicious index may name the same
/// piece any number of times.
const CANDIDATES: usize = 32;

/// The longest member that is used, in bytes: that of a block of content, with much to spare. The build's pod keeps a member on its disk until
/// it has looked at it.
const LONGEST_MEMBER: u64 = 1 << 20;

/// The packs that a service has, and where in them each piece is.
#[derive(Clone, Debug, Default)]
pub struct KnownPacks {
    packs: Vec<Listed>,
    /// The last of all places whose key begins with these eight bytes. Places are counted through all packs.
    places: HashMap<u64, usize>,
    /// For each place, the one before it whose key begins alike.
    before: Vec<Option<usize>>,
}

#[derive(Clone, Debug)]
struct Listed {
    pack: Arc<KnownPack>,
    /// The number of its first place.
    first_place: usize,
    gone: bool,
}

#[derive(Debug)]
pub(super) struct KnownPack {
    pub(super) name: Digest,
    pub(super) index: PackIndex,
    /// If it was written here.
    pub(super) segments: Option<Segments>,
}

/// Pieces of a pack, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) pack: Arc<KnownPack>,
    pub(super) pieces: Range<usize>,
}

impl KnownPacks {
    /// Knows of no pack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the pack `name` of `size` bytes. One that was added before stays as it is. `segments` are known if the pack was written here;
    /// of any other, it is only said that it holds what the index says.
    ///
    /// # Errors
    /// [`IndexError::Size`] if the index is that of a pack of another size, [`IndexError::Damaged`] if no pack of ours has such members. The
    /// pack is not used then.
    pub fn add(
        &mut self,
        name: Digest,
        size: u64,
        index: PackIndex,
        segments: Option<Segments>,
    ) -> Result<(), IndexError> {
        let indexed = index.pack_size();
        if indexed != size {
            return Err(IndexError::Size { indexed, size });
        }
        if index.longest_member() > LONGEST_MEMBER {
            return Err(IndexError::Damaged);
        }
        if let Some(listed) = self.packs.iter_mut().find(|listed| listed.pack.name == name) {
            listed.gone = false;
            return Ok(());
        }
        let first_place = self.before.len();
        self.before.reserve(index.piece_count());
        self.places.reserve(index.piece_count());
        for (place, key) in (first_place..).zip(index.keys_from(0)) {
            self.before.push(self.places.insert(prefix(key), place));
        }
        self.packs.push(Listed {
            pack: Arc::new(KnownPack { name, index, segments }),
            first_place,
            gone: false,
        });
        Ok(())
    }

    /// Uses the pack `name` no more until it is added again, because the service has lost it.
    pub fn forget(&mut self, name: &Digest) {
        for listed in self.packs.iter_mut().filter(|listed| listed.pack.name == *name) {
            listed.gone = true;
        }
    }

    /// Finds the longest stretch that is what `wanted` begins with.
    pub(super) fn longest(&self, wanted: &[Piece]) -> Option<Stretch> {
        let first = prefix(wanted.first()?.key);
        let places = std::iter::successors(self.places.get(&first).copied(), |place| self.before[*place]);
        let stretches = places.take(CANDIDATES).filter_map(|place| self.stretch(place, wanted));
        // What was written here needs not be decompressed to be checked.
        let merit =
            |(listed, pieces): &(&Listed, Range<usize>)| (pieces.len(), listed.pack.segments.is_some());
        let (listed, pieces) = stretches.max_by_key(merit)?;
        Some(Stretch { pack: Arc::clone(&listed.pack), pieces })
    }

    /// Returns which pieces from `place` on are what `wanted` begins with.
    fn stretch(&self, place: usize, wanted: &[Piece]) -> Option<(&Listed, Range<usize>)> {
        let listed = &self.packs[self.packs.partition_point(|listed| listed.first_place <= place) - 1];
        let start = place - listed.first_place;
        let keys = listed.pack.index.keys_from(start);
        let length = keys.zip(wanted).take_while(|(key, wanted)| *key == wanted.key).count();
        (length > 0 && !listed.gone).then_some((listed, start..start + length))
    }
}

/// The first bytes of a key; they are those of a hash already.
fn prefix(key: Key) -> u64 {
    key.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16, rest: u16) -> Key {
        let mut bytes = [0; Key::LENGTH];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        bytes[30..].copy_from_slice(&rest.to_be_bytes());
        Key::new(bytes)
    }

    fn pieces(keys: &[Key]) -> Vec<Piece> {
        keys.iter().map(|key| Piece { key: *key, content: 0 }).collect()
    }

    fn index(keys: &[Key]) -> PackIndex {
        let mut index = PackIndex::default();
        for key in keys {
            index.push(*key, 10);
        }
        index
    }

    fn known(packs: &[&[Key]]) -> KnownPacks {
        let mut known = KnownPacks::new();
        for (number, keys) in (0..).zip(packs) {
            known.add(Digest::of(&[number]), 10 * keys.len() as u64, index(keys), None).expect("added");
        }
        known
    }

    /// The number of the pack, and the pieces.
    fn longest(known: &KnownPacks, wanted: &[Key]) -> Option<(u8, Range<usize>)> {
        let stretch = known.longest(&pieces(wanted))?;
        let number = (0..9).find(|number| stretch.pack.name == Digest::of(&[*number])).expect("of the test");
        Some((number, stretch.pieces))
    }

    #[test]
    fn an_index_of_another_size_is_refused_and_not_used() {
        let mut known = KnownPacks::new();
        let (name, keys) = (Digest::of(b"pack"), [key(1, 0), key(2, 0)]);
        for size in [0, 19, 21] {
            assert_eq!(
                known.add(name, size, index(&keys), None),
                Err(IndexError::Size { indexed: 20, size })
            );
        }
        assert!(known.longest(&pieces(&keys)).is_none());
        known.add(name, 20, index(&keys), None).expect("right size");
        assert!(known.longest(&pieces(&keys)).is_some());
    }

    #[test]
    fn the_longest_stretch_is_taken_whichever_pack_it_is_in() {
        let [a, b, c, d] = [1, 2, 3, 4].map(|number| key(number, 0));
        for (packs, expected) in [
            ([&[a, b, d][..], &[d, a, b, c], &[a]], (1, 1..4)),
            ([&[a], &[a, b, d], &[d, a, b, c]], (2, 1..4)),
            ([&[d, a, b, c], &[a], &[a, b, d]], (0, 1..4)),
        ] {
            assert_eq!(longest(&known(&packs), &[a, b, c, c]), Some(expected));
        }
    }

    #[test]
    fn keys_that_begin_alike_are_told_apart() {
        let keys: Vec<Key> = (0..20).map(|rest| key(7, rest)).collect();
        let known = known(&[&keys]);
        for (number, wanted) in keys.iter().enumerate() {
            assert_eq!(longest(&known, &[*wanted]), Some((0, number..number + 1)));
        }
        assert_eq!(longest(&known, &[key(7, 20)]), None);
    }

    #[test]
    fn a_pack_that_is_gone_is_not_used_until_it_is_added_again() {
        let keys = [key(1, 0)];
        let mut known = known(&[&keys, &keys]);
        let gone = Digest::of(&[0]);
        known.forget(&gone);
        assert_eq!(longest(&known, &keys), Some((1, 0..1)));
        known.forget(&Digest::of(&[1]));
        assert_eq!(longest(&known, &keys), None);
        known.add(gone, 10, index(&keys), None).expect("added");
        assert_eq!(longest(&known, &keys), Some((0, 0..1)));
    }

    #[test]
    fn an_index_that_names_one_piece_over_and_over_takes_no_longer() {
        let keys = vec![key(1, 0); 100_000];
        let known = known(&[&keys]);
        for _ in 0..1000 {
            assert_eq!(longest(&known, &[key(1, 0), key(2, 0)]).map(|(_, pieces)| pieces.len()), Some(1));
        }
    }
}
