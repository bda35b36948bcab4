use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::piece::Piece;
use super::{IndexError, Key, PackIndex};
use crate::Digest;

/// How many places that may hold a piece are looked at. A damaged or malicious index may name the same
/// piece any number of times.
const CANDIDATES: usize = 32;

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

    /// Adds the pack `name` of `size` bytes. One that was added before stays as it is.
    ///
    /// # Errors
    /// [`IndexError::Size`] if the index is that of a pack of another size. The pack is not used then.
    pub fn add(&mut self, name: Digest, size: u64, index: PackIndex) -> Result<(), IndexError> {
        let indexed = index.pack_size();
        if indexed != size {
            return Err(IndexError::Size { indexed, size });
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
        self.packs.push(Listed { pack: Arc::new(KnownPack { name, index }), first_place, gone: false });
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
        let (listed, pieces) = stretches.max_by_key(|(_, pieces)| pieces.len())?;
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
