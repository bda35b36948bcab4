use std::iter::Peekable;
use std::sync::Arc;

use super::Key;
use super::piece::{BLOCK, Part};
use garden_build_core::context::{Cancelled, CheckedFile, ContextError, Entry, EntryKind, Tree};

/// What a thread takes on at once if there is so much, in bytes before compression.
const BATCH: u64 = 256 * 1024;

/// What a header counts for.
const HEADER: u64 = 512;

/// A piece that has to be compressed.
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) part: Part,
    pub(super) entry: Arc<Entry>,
}

/// What a thread takes on at once.
pub(super) enum Task {
    /// Headers, and files of one block that are still to be read.
    Batch(Vec<Job>),
    /// A block, which has been read.
    Block(Key),
}

/// Hands out tasks, in order.
///
/// A file of several blocks is read here, since it can be verified only from its beginning to its end. Who takes
/// a block reads it under the queue's lock, and compresses it while others read the next ones.
pub(super) struct Queue<'a> {
    tree: &'a Tree,
    jobs: Peekable<Box<dyn Iterator<Item = Job> + Send + 'a>>,
    large_file: Option<LargeFile>,
    cancelled: Cancelled<'a>,
    closed: bool,
}

/// A file that is being read block by block.
struct LargeFile {
    entry: Arc<Entry>,
    file: CheckedFile,
    /// Where the next block begins.
    offset: u64,
}

impl<'a> Queue<'a> {
    pub(super) fn new(
        tree: &'a Tree,
        jobs: impl Iterator<Item = Job> + Send + 'a,
        cancelled: Cancelled<'a>,
    ) -> Self {
        let jobs: Box<dyn Iterator<Item = Job> + Send> = Box::new(jobs);
        Self { tree, jobs: jobs.peekable(), large_file: None, cancelled, closed: false }
    }

    /// Hands out nothing more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Takes the next task; `None` if there is no more. Puts a block's content into `plain`.
    pub(super) fn take(&mut self, plain: &mut Vec<u8>) -> Option<Result<Task, ContextError>> {
        if self.closed {
            return None;
        }
        let mut batch = Vec::new();
        let mut size = 0;
        while size < BATCH
            && let Some(job) = self.jobs.next_if(|job| batch.is_empty() || !job.is_of_large_file())
        {
            match job.part {
                Part::Block { offset, .. } if job.is_of_large_file() => {
                    return Some(self.read_block(&job, offset, plain).map(|()| Task::Block(job.key)));
                }
                Part::Block { length, .. } => size += u64::from(length),
                Part::Header => size += HEADER,
            }
            batch.push(job);
        }
        (!batch.is_empty()).then_some(Ok(Task::Batch(batch)))
    }

    /// Reads the block at `wanted`. After the last one that is wanted of a file, reads the file to its end, because
    /// only then it is verified.
    fn read_block(&mut self, job: &Job, wanted: u64, plain: &mut Vec<u8>) -> Result<(), ContextError> {
        let of_same_file = |entry: &Arc<Entry>| Arc::ptr_eq(entry, &job.entry);
        let mut large_file = match self.large_file.take().filter(|large_file| of_same_file(&large_file.entry))
        {
            Some(large_file) => large_file,
            None => LargeFile { entry: Arc::clone(&job.entry), file: self.tree.open(&job.entry)?, offset: 0 },
        };
        let mut at_end = false;
        while large_file.offset <= wanted {
            at_end = large_file.read(plain, self.cancelled)?;
        }
        if self.jobs.peek().is_some_and(|next| of_same_file(&next.entry)) {
            self.large_file = Some(large_file);
            return Ok(());
        }
        let mut unwanted = Vec::new();
        while !at_end {
            at_end = large_file.read(&mut unwanted, self.cancelled)?;
        }
        Ok(())
    }
}

impl Job {
    /// Whether it is a block, but not all of its file.
    fn is_of_large_file(&self) -> bool {
        let is_large = matches!(self.entry.kind, EntryKind::File { size, .. } if size > u64::from(BLOCK));
        is_large && self.part != Part::Header
    }
}

impl LargeFile {
    /// Reads the next block. Returns whether it is the last one, and the file is what it was.
    fn read(&mut self, block: &mut Vec<u8>, cancelled: Cancelled<'_>) -> Result<bool, ContextError> {
        if cancelled() {
            return Err(ContextError::Cancelled);
        }
        block.clear();
        let at_end = self.file.read(block, BLOCK as usize)?;
        self.offset += block.len() as u64;
        Ok(at_end)
    }
}
