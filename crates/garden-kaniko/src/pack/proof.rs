//! What shows the build's pod that a stream holds the files that it should.
//!
//! Why: docs/decisions/28-what-is-stored-by-input-is-verified-by-output.md

use std::ops::Range;

use super::queue::{Queue, Task};
use super::segments::SEGMENT;
use super::write::read_plain;
use super::{PackIndex, Plan, Segments};
use garden_build_core::context::{Cancelled, ContextError, padding};
use garden_build_core::{Digest, Sha256};

/// A part of a context's stream: whole members, of 4.5 MiB at most in what others have written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// How many bytes of the stream it is. Never 0.
    pub length: u64,
    pub(super) evidence: Evidence,
}

/// How it can be known what a part has to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Evidence {
    /// This is the digest of its bytes, which were compressed here.
    Stored(Digest),
    /// It has to hold these pieces of the context. Its bytes come from somebody else, or are not all of a segment.
    Pieces(Range<usize>),
}

/// What the digest of a part is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// The digest of its bytes as they are.
    Stored(Digest),
    /// The digest of the decompressed bytes.
    Plain(Digest),
}

impl Plan {
    /// Returns what each of `parts`, which are those of this plan's assembly, has to be. Nothing that anybody else has said
    /// counts: it follows from what was compressed here, and from the files themselves. These are read, and verified, as far as
    /// parts come from elsewhere.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn prove(&self, parts: &[Part], cancelled: Cancelled<'_>) -> Result<Vec<Proof>, ContextError> {
        let ranges: Vec<&Range<usize>> = parts.iter().filter_map(Part::pieces).collect();
        let mut is_wanted = vec![false; self.piece_count()];
        for range in &ranges {
            is_wanted[(*range).clone()].fill(true);
        }
        let jobs = self.jobs(is_wanted.into_iter());
        let mut sums = Sums::of(ranges.iter().map(|range| range.len()));
        let mut queue = Queue::new(self.tree(), jobs, cancelled);
        let mut plain = Vec::new();
        while let Some(task) = queue.take(&mut plain) {
            match task? {
                Task::Block(_) => sums.add(&plain),
                Task::Batch(jobs) => {
                    for job in jobs {
                        if cancelled() {
                            return Err(ContextError::Cancelled);
                        }
                        read_plain(self.tree(), &job, &mut plain)?;
                        sums.add(&plain);
                    }
                }
            }
        }
        let mut sums = sums.done.into_iter();
        let proofs = parts.iter().map(|part| match part.evidence {
            Evidence::Stored(digest) => Some(Proof::Stored(digest)),
            Evidence::Pieces(_) => sums.next().map(Proof::Plain),
        });
        // All pieces were read, or there was an error.
        proofs.collect::<Option<_>>().ok_or(ContextError::Cancelled)
    }
}

impl Part {
    fn pieces(&self) -> Option<&Range<usize>> {
        match &self.evidence {
            Evidence::Pieces(pieces) => Some(pieces),
            Evidence::Stored(_) => None,
        }
    }
}

/// The digests of rows of pieces.
struct Sums<C> {
    /// How many pieces the rows that have not begun have.
    counts: C,
    sum: Sha256,
    /// How many pieces the row that has begun lacks.
    missing: usize,
    done: Vec<Digest>,
}

impl<C: Iterator<Item = usize>> Sums<C> {
    fn of(mut counts: C) -> Self {
        let missing = counts.next().unwrap_or_default();
        Self { counts, sum: Sha256::new(), missing, done: Vec::new() }
    }

    /// Adds the next piece, without the padding that follows content.
    fn add(&mut self, plain: &[u8]) {
        self.sum.update(plain);
        self.sum.update(padding(plain.len() as u64));
        self.missing -= 1;
        if self.missing == 0 {
            self.done.push(self.sum.digest_and_begin_anew());
            self.missing = self.counts.next().unwrap_or_default();
        }
    }
}

/// Cuts what `pieces` of the pack with this `index` take of the stream into parts. They are the context's pieces from `first`
/// on.
pub(super) fn cut(
    parts: &mut Vec<Part>,
    index: &PackIndex,
    segments: &Segments,
    pieces: Range<usize>,
    first: usize,
) {
    let end = index.offset(pieces.end);
    let mut piece = pieces.start;
    while piece < pieces.end {
        let offset = index.offset(piece);
        if let Some((until, digest)) = segments.beginning_at(offset).filter(|(until, _)| *until <= end) {
            parts.push(Part { length: until - offset, evidence: Evidence::Stored(digest) });
            piece = index.piece_at(until);
            continue;
        }
        // Up to where the next segment begins, as far as there are any.
        let until = segments.end_after(offset).unwrap_or(u64::MAX).min(offset + SEGMENT).min(end);
        let next = index.piece_at(until);
        let of_context = first + piece - pieces.start..first + next - pieces.start;
        push(parts, index.offset(next) - offset, of_context);
        piece = next;
    }
}

/// Appends pieces, to the last part if they continue that and it does not become too long: each costs the pod processes.
fn push(parts: &mut Vec<Part>, length: u64, pieces: Range<usize>) {
    if let Some(Part { length: before, evidence: Evidence::Pieces(last) }) = parts.last_mut()
        && last.end == pieces.start
        && *before + length <= SEGMENT
    {
        last.end = pieces.end;
        *before += length;
        return;
    }
    parts.push(Part { length, evidence: Evidence::Pieces(pieces) });
}
