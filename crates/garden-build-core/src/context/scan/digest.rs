//! Reads and digests the files that a walk has found, on several threads.

use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::digest_cache::{self, Item, Session, Stamp};
use super::super::manifest::{Content, Record};
use super::super::read::{BUFFER, open, read};
use super::super::select::Selection;
use super::super::{Attributes, Cancelled, ContextError, OpenDirectory, PathBytes};
use super::system::file_mode;
use super::threads::{self, Failure, lock};
use super::walk::{Place, Walked};
use crate::Sha256;

/// Files from this size on are left for the end, when the largest one comes first, so that none begins when all else is
/// done.
const LARGE: u64 = 4 * 1024 * 1024;

/// How many files a thread takes at once.
const PIECE: usize = 64;

/// Digests all files of `walked` that are still to be read.
pub(super) fn digest(
    root: &OpenDirectory,
    selection: &Selection,
    walked: &mut [Walked],
    session: &Session,
    cancelled: Cancelled<'_>,
) -> Result<(), ContextError> {
    let work = Work { root, selection, session, cancelled, failure: Failure::default() };
    let mut large = work.small_files(walked);
    large.sort_by_key(|large| std::cmp::Reverse(large.size));
    for (Large { folder, position, .. }, content) in work.large_files(&large) {
        if let Some(record) = walked[*folder].folder.record_mut(*position) {
            record.set(&content);
        }
    }
    work.failure.result()
}

/// A file that has a thread to itself for a while.
struct Large {
    folder: usize,
    position: usize,
    path: PathBytes,
    place: Place,
    size: u64,
}

struct Work<'w> {
    root: &'w OpenDirectory,
    selection: &'w Selection,
    session: &'w Session,
    cancelled: Cancelled<'w>,
    failure: Failure,
}

/// What became of a file.
enum Outcome {
    Read(Content),
    /// It is this large, and waits.
    Deferred(u64),
    Failed,
}

impl Work<'_> {
    /// Digests all files but the large ones, which it returns.
    fn small_files(&self, walked: &mut [Walked]) -> Vec<Large> {
        let pieces = walked.iter_mut().enumerate().flat_map(|(folder, walked)| {
            let place = walked.place;
            let pieces = walked.folder.pieces(PIECE).enumerate();
            pieces.map(move |(number, piece)| (folder, number * PIECE, place, piece))
        });
        let is_wanted = |records: &[Record]| records.iter().any(Record::is_unread);
        let pieces = Mutex::new(pieces.filter(|(_, _, _, (_, _, records))| is_wanted(records)));
        let large = threads::all(|| {
            let mut buffer = vec![0; BUFFER];
            let mut large = Vec::new();
            loop {
                let Some((folder, first, place, (prefix, text, records))) = lock(&pieces).next() else {
                    break;
                };
                let mut items = Vec::new();
                for (number, record) in
                    records.iter_mut().enumerate().filter(|(_, record)| record.is_unread())
                {
                    let path: PathBytes = [prefix, record.name(text)].concat().into();
                    match self.file(&path, place, LARGE, &mut buffer, &mut items) {
                        Outcome::Read(content) => record.set(&content),
                        Outcome::Deferred(size) => {
                            large.push(Large { folder, position: first + number, path, place, size });
                        }
                        Outcome::Failed => {}
                    }
                }
                self.store(place, items);
            }
            large
        });
        large.into_iter().flatten().collect()
    }

    fn large_files<'l>(&self, large: &'l [Large]) -> Vec<(&'l Large, Content)> {
        if large.is_empty() {
            return Vec::new();
        }
        let next = AtomicUsize::new(0);
        let done = threads::all(|| {
            let mut buffer = vec![0; BUFFER];
            let mut done = Vec::new();
            while let Some(file) = large.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut items = Vec::new();
                let outcome = self.file(&file.path, file.place, u64::MAX, &mut buffer, &mut items);
                if let Outcome::Read(content) = outcome {
                    done.push((file, content));
                }
                self.store(file.place, items);
            }
            done
        });
        done.into_iter().flatten().collect()
    }

    /// Digests a file that is smaller than `limit`, and adds to `items` what the cache may keep of it.
    fn file(
        &self,
        path: &PathBytes,
        place: Place,
        limit: u64,
        buffer: &mut [u8],
        items: &mut Vec<Item>,
    ) -> Outcome {
        if self.failure.is_before(path.as_bytes()) {
            return Outcome::Failed;
        }
        // Before it is looked at: whoever writes to it from now on makes it one that has not settled.
        let now = digest_cache::now();
        let read = open(self.root, path).and_then(|(file, attributes)| {
            if attributes.size >= limit {
                return Ok(Outcome::Deferred(attributes.size));
            }
            let mut reading = Reading { file, path, buffer, hasher: Sha256::new(), size: 0 };
            reading.read_to_end(attributes.size, self.cancelled)?;
            let digest = reading.hasher.digest();
            items.extend(
                self.stamp(&attributes, reading.size, place, now).map(|stamp| Item { stamp, digest }),
            );
            // The time is that of before: if the file was written meanwhile, it is not that of what was read,
            // and whoever compares times sees a difference.
            let (mode, modified) = (file_mode(&attributes, self.selection), attributes.modified);
            Ok(Outcome::Read(Content { mode, modified, size: reading.size, digest }))
        });
        match read {
            Ok(outcome) => outcome,
            Err(ContextError::Cancelled) => {
                self.failure.cancel();
                Outcome::Failed
            }
            Err(error) => {
                self.failure.record(path.as_bytes(), error);
                Outcome::Failed
            }
        }
    }

    /// By what the cache knows the file again whose reading began at `now` with these attributes, if it may keep it.
    fn stamp(&self, attributes: &Attributes, size: u64, place: Place, now: i64) -> Option<Stamp> {
        let stamp = Stamp::of(attributes).filter(|stamp| self.session.is_used() && stamp.size == size)?;
        let (device, _) = place.directory;
        place.clock.trusts(&stamp, device, now, self.session.latest_change()).then_some(stamp)
    }

    fn store(&self, place: Place, items: Vec<Item>) {
        if !items.is_empty() {
            self.session.replace(place.directory, items);
        }
    }
}

/// A file that is being digested.
struct Reading<'r> {
    file: File,
    path: &'r PathBytes,
    buffer: &'r mut [u8],
    hasher: Sha256,
    size: u64,
}

impl Reading<'_> {
    /// Reads all of a file that had `expected` bytes.
    fn read_to_end(&mut self, expected: u64, cancelled: Cancelled<'_>) -> Result<(), ContextError> {
        loop {
            if cancelled() {
                return Err(ContextError::Cancelled);
            }
            let length =
                read(&mut self.file, self.buffer).map_err(|error| ContextError::reading(self.path, error))?;
            self.hasher.update(&self.buffer[..length]);
            self.size += length as u64;
            // Less than there was room for is the end, if that is where it was to be: in `/proc`, it need not be.
            if length == 0 || (length < self.buffer.len() && self.size == expected) {
                return Ok(());
            }
        }
    }
}
