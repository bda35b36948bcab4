//! Writes pieces as a pack: compressed on many threads, and in order all the same.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::member::{Effort, Members};
use super::piece::{BLOCK, Part};
use super::queue::{Job, Queue, Task};
use super::segments::Segmenter;
use super::{Key, NewPack, PackIndex};
use garden_build_core::Sha256;
use garden_build_core::context::{Cancelled, ContextError, Tree};
use garden_build_core::context::{TarHeader, padding};

/// More threads than this would need more memory than they are worth.
const MAX_THREADS: usize = 16;

/// How many tasks for each thread may have been begun and not yet written.
const TASKS: usize = 3;

/// What the output is given at once, in bytes, before it is asked again whether to stop.
const CHUNK: usize = 128 * 1024;

/// A task that has been compressed.
#[derive(Default)]
struct Packed {
    /// Its members.
    bytes: Vec<u8>,
    /// The key and length of each.
    pieces: Vec<(Key, u32)>,
    /// How many bytes of files it holds.
    content: u64,
}

type Outcome = Result<Packed, ContextError>;

/// Writes the pieces that the `jobs`, `count` of them, are about as a pack.
pub(super) fn write<'a>(
    tree: &'a Tree,
    jobs: impl Iterator<Item = Job> + Send + 'a,
    count: usize,
    output: &mut dyn Write,
    cancelled: Cancelled<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<NewPack, ContextError> {
    let given_up = AtomicBool::new(false);
    let cancelled = || given_up.load(Ordering::Relaxed) || cancelled();
    let threads = threads().min(count);
    // Whoever takes a task has a buffer for it already. So memory is bounded by the number of buffers, and the
    // task that has to be written next never waits for one.
    let (free, buffers) = mpsc::channel();
    let buffer_count = threads * TASKS;
    for _ in 0..buffer_count {
        give_back(&free, Vec::new());
    }
    let unwritten = AtomicUsize::new(0);
    let (begun, outcomes) = mpsc::channel();
    let queue = Mutex::new(Queue::new(tree, jobs, &cancelled));
    let buffers = Mutex::new(buffers);
    let workshop =
        Workshop { tree, cancelled: &cancelled, queue, buffers, buffer_count, unwritten: &unwritten };
    thread::scope(|scope| {
        for _ in 0..threads {
            let (workshop, begun) = (&workshop, begun.clone());
            scope.spawn(move || workshop.work(&begun));
        }
        drop(begun);
        let (sum, index) = (Sha256::new(), PackIndex::default());
        let segments = Segmenter::default();
        let pack = Pack { output, free, unwritten: &unwritten, sum, segments, index, content: 0 };
        let written = pack.write(outcomes, &cancelled, progress);
        given_up.store(true, Ordering::Relaxed);
        written
    })
}

/// What the threads that compress share.
struct Workshop<'a> {
    tree: &'a Tree,
    cancelled: Cancelled<'a>,
    queue: Mutex<Queue<'a>>,
    buffers: Mutex<Receiver<Vec<u8>>>,
    buffer_count: usize,
    /// How many tasks have been begun and not yet written. Each of them has a buffer.
    unwritten: &'a AtomicUsize,
}

impl Workshop<'_> {
    /// Compresses until there is nothing left to do, or nobody who wants it.
    fn work(&self, begun: &Sender<Receiver<Outcome>>) {
        let mut members = Members::new();
        let mut plain = Vec::new();
        while let Some(buffer) = self.buffer() {
            let Some((task, effort, result)) = self.begin(begun, &mut plain) else { return };
            let packed = task.and_then(|task| self.pack(task, &mut plain, &mut members, effort, buffer));
            if packed.is_err() {
                lock(&self.queue).close();
            }
            if result.send(packed).is_err() {
                return;
            }
        }
    }

    /// Waits for a buffer; `None` if nobody wants anything more.
    fn buffer(&self) -> Option<Vec<u8>> {
        lock(&self.buffers).recv().ok()
    }

    /// Takes a task, and announces its result in the order in which tasks are taken.
    ///
    /// If its buffer is the last one, everything that is compressed waits for the output, and there is time to compress
    /// this task better.
    fn begin(
        &self,
        begun: &Sender<Receiver<Outcome>>,
        plain: &mut Vec<u8>,
    ) -> Option<(Result<Task, ContextError>, Effort, SyncSender<Outcome>)> {
        let mut queue = lock(&self.queue);
        // If there is no task any more, nobody asks for this number again.
        let unwritten = self.unwritten.fetch_add(1, Ordering::Relaxed) + 1;
        let effort = if unwritten == self.buffer_count { Effort::Dense } else { Effort::Fast };
        let task = queue.take(plain)?;
        let (result, outcome) = mpsc::sync_channel(1);
        begun.send(outcome).ok()?;
        Some((task, effort, result))
    }

    fn pack(
        &self,
        task: Task,
        plain: &mut Vec<u8>,
        members: &mut Members,
        effort: Effort,
        mut buffer: Vec<u8>,
    ) -> Outcome {
        buffer.clear();
        let mut packed = Packed { bytes: buffer, ..Packed::default() };
        match task {
            Task::Block(key) => {
                packed.content = plain.len() as u64;
                packed.add(key, plain, members, effort)?;
            }
            Task::Batch(jobs) => {
                for job in jobs {
                    packed.content += self.read(&job, plain)?;
                    packed.add(job.key, plain, members, effort)?;
                }
            }
        }
        Ok(packed)
    }

    /// Does as [`read_plain`], as long as somebody wants it.
    fn read(&self, job: &Job, plain: &mut Vec<u8>) -> Result<u64, ContextError> {
        if (self.cancelled)() {
            return Err(ContextError::Cancelled);
        }
        read_plain(self.tree, job, plain)
    }
}

/// Replaces `plain` by a header, or by the content of a file that is one block. Returns the content's length.
pub(super) fn read_plain(tree: &Tree, job: &Job, plain: &mut Vec<u8>) -> Result<u64, ContextError> {
    plain.clear();
    if job.part == Part::Header {
        TarHeader::of(&job.entry).append_to(plain);
        return Ok(0);
    }
    let mut file = tree.open(&job.entry)?;
    while !file.read(plain, BLOCK as usize)? {}
    Ok(plain.len() as u64)
}

impl Packed {
    /// Appends a piece, with the padding that follows content. Between the blocks of a file there is none.
    fn add(
        &mut self,
        key: Key,
        plain: &mut Vec<u8>,
        members: &mut Members,
        effort: Effort,
    ) -> Result<(), ContextError> {
        plain.extend_from_slice(padding(plain.len() as u64));
        let start = self.bytes.len();
        members.append(plain, effort, &mut self.bytes).map_err(ContextError::Write)?;
        let length = u32::try_from(self.bytes.len() - start).map_err(io::Error::other);
        self.pieces.push((key, length.map_err(ContextError::Write)?));
        Ok(())
    }
}

/// The pack that is being written.
struct Pack<'a> {
    output: &'a mut dyn Write,
    /// Where buffers go back to. When it is dropped, no thread can take on anything more.
    free: Sender<Vec<u8>>,
    unwritten: &'a AtomicUsize,
    sum: Sha256,
    segments: Segmenter,
    index: PackIndex,
    content: u64,
}

impl Pack<'_> {
    /// Writes the outcomes, and gives their buffers back.
    fn write(
        mut self,
        outcomes: Receiver<Receiver<Outcome>>,
        cancelled: Cancelled<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<NewPack, ContextError> {
        for outcome in outcomes {
            // Without an outcome, its thread has panicked, and the scope passes that on.
            let packed = outcome.recv().unwrap_or(Err(ContextError::Cancelled))?;
            for chunk in packed.bytes.chunks(CHUNK) {
                if cancelled() {
                    return Err(ContextError::Cancelled);
                }
                self.sum.update(chunk);
                self.output.write_all(chunk).map_err(ContextError::Write)?;
            }
            let mut members = packed.bytes.as_slice();
            for (key, length) in &packed.pieces {
                let (member, rest) = members.split_at(*length as usize);
                self.segments.add(member);
                self.index.push(*key, *length);
                members = rest;
            }
            self.content += packed.content;
            progress(self.content);
            self.unwritten.fetch_sub(1, Ordering::Relaxed);
            give_back(&self.free, packed.bytes);
        }
        let name = self.sum.digest();
        Ok(NewPack { name, index: self.index, segments: self.segments.finish() })
    }
}

/// Returns how many threads compress a pack, if there is something to do for all of them.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// Returns how many tasks are begun before one has to be written.
#[cfg(test)]
pub(super) fn tasks_ahead() -> usize {
    threads() * TASKS
}

/// Lets another task have the buffer. If all threads have ended, nobody needs it.
fn give_back(free: &Sender<Vec<u8>>, buffer: Vec<u8>) {
    let _ = free.send(buffer);
}

/// A thread that panicked ends the pack anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
