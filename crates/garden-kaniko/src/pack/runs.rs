//! From which packs the pieces of a context are taken.

use std::collections::HashMap;
use std::ops::Range;

use super::known::{KnownPacks, Stretch};
use super::piece::Piece;

/// What a range of the rope costs, as bytes that could be sent instead: a line of the rope, and a process that
/// the service starts each time it reads the rope, which takes about a millisecond.
pub(super) const RANGE_COST: u64 = 2 * 1024;

/// From how many bytes on content that is twice in a context is sent once. Source trees are full of small files
/// with the same content, such as licences; the rope of a first delivery is to be one range all the same.
const WORTH_A_RANGE: u64 = 64 * 1024;

/// The most ranges that a rope may have, whatever has to be sent again for that.
pub(super) const LONGEST_ROPE: usize = 2000;

/// Pieces of a context, one after the other, that have the same source.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) pieces: Range<usize>,
    pub(super) source: Source,
}

/// Where pieces come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// They go into the new pack.
    New,
    /// They are in a pack of the service.
    Known(Stretch),
    /// They are the same as those from this piece on, which go into the new pack.
    Again(usize),
}

/// Finds a source for each of `pieces`, such that little is sent and the rope is short.
pub(super) fn runs(pieces: &[Piece], known: &KnownPacks) -> Vec<Run> {
    let runs = find(pieces, known);
    if !runs.iter().any(Run::is_new) && runs.len() <= LONGEST_ROPE {
        return runs;
    }
    let size = |run: &Run| match &run.source {
        Source::New => 0,
        Source::Known(stretch) => stretch.pack.index.length(stretch.pieces.clone()),
        Source::Again(_) => pieces[run.pieces.clone()].iter().map(|piece| u64::from(piece.content)).sum(),
    };
    let mut runs = send_again(runs, |run, new_neighbours| size(run) < RANGE_COST * new_neighbours);
    let mut limit = RANGE_COST;
    while runs.len() > LONGEST_ROPE {
        limit = limit.saturating_mul(2);
        runs = send_again(runs, |run, _| size(run) < limit);
    }
    runs
}

impl Run {
    pub(super) fn is_new(&self) -> bool {
        matches!(self.source, Source::New)
    }
}

/// Takes the longest stretch that is known, then the next. No other choice gives fewer ranges.
pub(super) fn find(pieces: &[Piece], known: &KnownPacks) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut new = HashMap::new();
    let mut start = 0;
    while start < pieces.len() {
        let (count, source) = if let Some(stretch) = known.longest(&pieces[start..]) {
            (stretch.pieces.len(), Source::Known(stretch))
        } else if let Some(first) = new.get(&pieces[start].key) {
            (1, Source::Again(*first))
        } else {
            let piece = &pieces[start];
            if u64::from(piece.content) >= WORTH_A_RANGE {
                new.insert(piece.key, start);
            }
            (1, Source::New)
        };
        push(&mut runs, Run { pieces: start..start + count, source });
        start += count;
    }
    runs
}

/// Sends known runs again that are `too_small`, which gets how many of the two runs beside are new.
fn send_again(runs: Vec<Run>, too_small: impl Fn(&Run, u64) -> bool) -> Vec<Run> {
    let mut result: Vec<Run> = Vec::with_capacity(runs.len());
    let mut runs = runs.into_iter().peekable();
    while let Some(run) = runs.next() {
        let beside = [result.last(), runs.peek()];
        let new_neighbours = beside.into_iter().flatten().filter(|run| run.is_new()).count() as u64;
        let source = if too_small(&run, new_neighbours) { Source::New } else { run.source };
        push(&mut result, Run { pieces: run.pieces, source });
    }
    result
}

/// Appends a run, as a part of the last one if it continues that.
fn push(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) = runs.last_mut() {
        let continues = match (&last.source, &run.source) {
            (Source::New, Source::New) => true,
            (Source::Again(first), Source::Again(next)) => first + last.pieces.len() == *next,
            _ => false,
        };
        if continues {
            last.pieces.end = run.pieces.end;
            return;
        }
    }
    runs.push(run);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{Key, PackIndex};
    use garden_build_core::Digest;

    fn key(number: usize) -> Key {
        Key::new(*Digest::of(&number.to_be_bytes()).as_bytes())
    }

    fn piece(number: usize) -> Piece {
        Piece { key: key(number), content: 100_000 }
    }

    /// Knows a pack of these pieces, each so long.
    fn known(pieces: impl Iterator<Item = usize>, length: u32) -> KnownPacks {
        let mut index = PackIndex::default();
        pieces.for_each(|number| index.push(key(number), length));
        let mut known = KnownPacks::new();
        known.add(Digest::of(b"pack"), index.pack_size(), index, None).expect("added");
        known
    }

    fn sent(runs: &[Run]) -> usize {
        runs.iter().filter(|run| run.is_new()).map(|run| run.pieces.len()).sum()
    }

    /// Each piece has a source, in order.
    fn check(runs: &[Run], pieces: usize) {
        let numbers: Vec<usize> = runs.iter().flat_map(|run| run.pieces.clone()).collect();
        assert_eq!(numbers, (0..pieces).collect::<Vec<_>>());
    }

    #[test]
    fn small_known_pieces_between_new_ones_are_sent_again() {
        let pieces: Vec<Piece> = (0..5).map(piece).collect();
        for (length, new, ranges) in [(4095, 5, 1), (4097, 3, 5)] {
            let runs = runs(&pieces, &known([1, 3].into_iter(), length));
            check(&runs, 5);
            assert_eq!((sent(&runs), runs.len()), (new, ranges), "{length}");
        }
    }

    /// Each is a range that is spared, however many there are.
    #[test]
    fn small_known_pieces_one_after_the_other_are_sent_for_one_new_piece() {
        let pieces: Vec<Piece> = (0..50).map(piece).collect();
        // Backwards, so that no two are one stretch.
        for (length, new, ranges) in [(2047, 50, 1), (2049, 1, 50)] {
            let runs = runs(&pieces, &known((1..50).rev(), length));
            check(&runs, 50);
            assert_eq!((sent(&runs), runs.len()), (new, ranges), "{length}");
        }
    }

    #[test]
    fn a_rope_is_never_too_long() {
        let pieces: Vec<Piece> = (0..20_000).map(piece).collect();
        let scattered = runs(&pieces, &known((0..20_000).filter(|number| number % 3 > 0), 1_000_000));
        check(&scattered, 20_000);
        assert!(scattered.len() <= LONGEST_ROPE);
        let shuffled = runs(&pieces, &known((0..20_000).rev(), 1_000_000));
        check(&shuffled, 20_000);
        assert!(shuffled.len() <= LONGEST_ROPE);
    }

    #[test]
    fn nothing_is_sent_if_all_is_known_however_small() {
        let pieces: Vec<Piece> = (0..LONGEST_ROPE).map(piece).collect();
        let runs = runs(&pieces, &known((0..LONGEST_ROPE).rev(), 1));
        check(&runs, LONGEST_ROPE);
        assert_eq!((sent(&runs), runs.len()), (0, LONGEST_ROPE));
    }
}
