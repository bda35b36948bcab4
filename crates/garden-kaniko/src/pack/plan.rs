use std::io::Write;
use std::iter;
use std::sync::Arc;

use super::known::KnownPacks;
use super::piece::{Piece, parts, pieces};
use super::proof::cut;
use super::queue::Job;
use super::runs::{Run, Source, runs};
use super::write::write;
use super::{PackIndex, Part, Segments};
use garden_build_core::Digest;
use garden_build_core::context::{Cancelled, Context, ContextError, Tree};

/// How a context's stream is made of what a service has and of what has to be sent.
#[derive(Clone, Debug)]
pub struct Plan {
    context: Context,
    pieces: Vec<Piece>,
    runs: Vec<Run>,
}

/// How the stream of a context is put together, but for its [`tail`](super::tail()).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assembly {
    /// What was written because the service lacked it, if it lacked anything.
    pub new_pack: Option<NewPack>,
    /// The ranges of packs whose concatenation is the stream. None is empty.
    pub rope: Vec<PackRange>,
    /// The same stream in parts that can be [proven](Plan::prove).
    pub parts: Vec<Part>,
    /// The index of the stream, for if it is kept as a pack of its own.
    pub index: PackIndex,
}

/// A pack that was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPack {
    /// The SHA-256 of its bytes.
    pub name: Digest,
    /// What it holds.
    pub index: PackIndex,
    /// The digests of its bytes.
    pub segments: Segments,
}

/// A part of a pack, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackRange {
    /// The pack's name.
    pub pack: Digest,
    /// Where the range begins.
    pub offset: u64,
    /// How long it is. Never 0.
    pub length: u64,
}

impl Plan {
    /// Finds out what of `context` the packs of `known` lack. Reads no file.
    pub fn of(context: &Context, known: &KnownPacks) -> Self {
        let pieces = pieces(context.manifest());
        let runs = runs(&pieces, known);
        Self { context: context.clone(), pieces, runs }
    }

    /// Returns how the stream is put together if nothing has to be written before.
    pub fn assembly(&self) -> Option<Assembly> {
        if self.runs.iter().any(Run::is_new) {
            return None;
        }
        let nothing =
            NewPack { name: Digest::of(&[]), index: PackIndex::default(), segments: Segments::default() };
        Some(Assembly { new_pack: None, ..self.assemble(nothing) })
    }

    /// Writes what the packs lack as a new pack.
    ///
    /// Compresses on as many threads as there are processors, and keeps at most 64 MiB in memory. Every file is
    /// verified while it is read. Calls `progress` with the bytes of files that have been written so far, which
    /// ends with [`missing_bytes`](Self::missing_bytes).
    ///
    /// # Errors
    /// [`ContextError::Changed`] if a file is not what it was when the context was scanned,
    /// [`ContextError::Cancelled`] soon after `cancelled` returns `true`, and if the output cannot be written. What
    /// was written until then is of no use.
    pub fn write<W: Write>(
        &self,
        mut output: W,
        cancelled: Cancelled<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Assembly, ContextError> {
        let count = self.runs.iter().filter(|run| run.is_new()).map(|run| run.pieces.len()).sum();
        let new_pack = write(self.tree(), self.new_jobs(), count, &mut output, cancelled, progress)?;
        output.flush().map_err(ContextError::Write)?;
        Ok(self.assemble(new_pack))
    }

    /// Returns how many bytes of files go into the new pack, before compression.
    pub fn missing_bytes(&self) -> u64 {
        let new = self.runs.iter().filter(|run| run.is_new());
        new.flat_map(|run| &self.pieces[run.pieces.clone()]).map(|piece| u64::from(piece.content)).sum()
    }

    /// Returns what goes into the new pack, in its order.
    fn new_jobs(&self) -> impl Iterator<Item = Job> + Send {
        self.jobs(self.runs.iter().flat_map(|run| iter::repeat_n(run.is_new(), run.pieces.len())))
    }

    /// Returns the pieces for which `is_wanted` is true.
    pub(super) fn jobs(
        &self,
        is_wanted: impl Iterator<Item = bool> + Send,
    ) -> impl Iterator<Item = Job> + Send {
        let parts = self.context.manifest().entries().flat_map(|entry| {
            let entry = Arc::new(entry);
            parts(&entry).map(move |part| (part, Arc::clone(&entry)))
        });
        let jobs = parts.zip(&self.pieces).zip(is_wanted);
        jobs.filter_map(|(((part, entry), piece), is_wanted)| {
            is_wanted.then_some(Job { key: piece.key, part, entry })
        })
    }

    pub(super) fn tree(&self) -> &Tree {
        self.context.tree()
    }

    pub(super) fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// Puts the stream together from known packs and from the one of what the [`new_jobs`](Self::new_jobs) give.
    fn assemble(&self, new_pack: NewPack) -> Assembly {
        let (mut rope, mut parts) = (Vec::with_capacity(self.runs.len()), Vec::new());
        // Nothing is known here of the bytes of a pack that somebody else has written.
        let none = Segments::default();
        let mut index = PackIndex::with_capacity(self.pieces.len());
        // For each new run so far, its first piece, and the number of that piece in the new pack.
        let mut written: Vec<(usize, usize)> = Vec::new();
        let mut next = 0;
        for run in &self.runs {
            let count = run.pieces.len();
            let new = |pieces| (new_pack.name, &new_pack.index, &new_pack.segments, pieces);
            let (pack, of, segments, pieces) = match &run.source {
                Source::Known(stretch) => {
                    let segments = stretch.pack.segments.as_ref().unwrap_or(&none);
                    (stretch.pack.name, &stretch.pack.index, segments, stretch.pieces.clone())
                }
                Source::New => {
                    written.push((run.pieces.start, next));
                    next += count;
                    new(next - count..next)
                }
                Source::Again(first) => {
                    let (start, number) = written[written.partition_point(|(start, _)| start <= first) - 1];
                    let number = number + first - start;
                    new(number..number + count)
                }
            };
            let (offset, length) = (of.offset(pieces.start), of.length(pieces.clone()));
            push(&mut rope, PackRange { pack, offset, length });
            cut(&mut parts, of, segments, pieces.clone(), run.pieces.start);
            index.extend(of, pieces);
        }
        Assembly { new_pack: Some(new_pack), rope, parts, index }
    }
}

/// Appends a range, as a part of the last one if it continues that.
fn push(rope: &mut Vec<PackRange>, range: PackRange) {
    match rope.last_mut() {
        Some(last) if last.pack == range.pack && last.offset + last.length == range.offset => {
            last.length += range.length;
        }
        _ => rope.push(range),
    }
}
