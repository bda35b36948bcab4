//! Reads and digests the files that a walk has found, on several threads.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::super::digest_cache::{self, Item, Session, Stamp};
use super::super::manifest::{Content, Record};
use super::super::selection::Selection;
use super::super::{Cancelled, ContextError};
use super::BUFFER;
use super::open::{metadata, open_unchecked, read};
use super::threads::{self, Failure, lock};
use super::walk::{Place, Walked, file_mode};
use crate::Digest;

/// Files from this size on come first, the largest one before all, so that none begins when all else is done.
const LARGE: u64 = 4 * 1024 * 1024;

/// How many files a thread takes at once.
const PIECE: usize = 64;

/// Digests all files of `walked` that are still to be read.
pub(super) fn digest(
    root: &Path,
    selection: &Selection,
    walked: &mut [Walked],
    session: &Session,
    cancelled: Cancelled<'_>,
) -> Result<(), ContextError> {
    let large = large_files(walked);
    let next = AtomicUsize::new(0);
    let work = Work { root, selection, session, cancelled, failure: Failure::default() };
    let done = {
        let pieces = walked.iter_mut().flat_map(|walked| {
            let place = walked.place;
            walked.folder.pieces(PIECE).map(move |piece| (place, piece))
        });
        let is_small = |record: &Record| record.unread().is_some_and(|size| size < LARGE);
        let pieces = Mutex::new(pieces.filter(|(_, (_, _, records))| records.iter().any(is_small)));
        threads::all(|| {
            let mut buffer = vec![0; BUFFER];
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(Large { path, place, size, modified, .. }) = large.get(index) else { break };
                let mut items = Vec::new();
                let file = Unread { path, place: *place, size: *size, modified: *modified };
                if let Some(content) = work.file(&file, &mut buffer, &mut items) {
                    done.push((index, content));
                }
                work.store(*place, items);
            }
            loop {
                let Some((place, (prefix, text, records))) = lock(&pieces).next() else { break };
                let mut items = Vec::new();
                for record in records.iter_mut().filter(|record| is_small(record)) {
                    let path = &format!("{prefix}{}", record.name(text));
                    let (size, modified) = (record.unread().unwrap_or_default(), record.modified());
                    let file = Unread { path, place, size, modified };
                    if let Some(content) = work.file(&file, &mut buffer, &mut items) {
                        record.set(&content);
                    }
                }
                work.store(place, items);
            }
            done
        })
    };
    for (index, content) in done.into_iter().flatten() {
        let Large { folder, position, .. } = large[index];
        if let Some(record) = walked[folder].folder.record_mut(position) {
            record.set(&content);
        }
    }
    work.failure.result()
}

/// A large file, and where its record is.
struct Large {
    folder: usize,
    position: usize,
    path: String,
    place: Place,
    size: u64,
    modified: SystemTime,
}

/// Returns all large files, the largest first.
fn large_files(walked: &[Walked]) -> Vec<Large> {
    let mut large = Vec::new();
    for (number, Walked { folder, place, .. }) in walked.iter().enumerate() {
        let records = folder.records().iter().enumerate();
        large.extend(records.filter_map(|(position, record)| {
            let size = record.unread().filter(|size| *size >= LARGE)?;
            let (path, modified) = (folder.path(position), record.modified());
            Some(Large { folder: number, position, path, place: *place, size, modified })
        }));
    }
    large.sort_by_key(|large| std::cmp::Reverse(large.size));
    large
}

struct Work<'w> {
    root: &'w Path,
    selection: &'w Selection,
    session: &'w Session,
    cancelled: Cancelled<'w>,
    failure: Failure,
}

/// A file to be read, and what the walk has seen of it.
struct Unread<'p> {
    path: &'p str,
    place: Place,
    size: u64,
    modified: SystemTime,
}

impl Work<'_> {
    /// Digests a file, and adds to `items` what the cache may keep of it.
    fn file(&self, file: &Unread<'_>, buffer: &mut [u8], items: &mut Vec<Item>) -> Option<Content> {
        if self.failure.is_before(file.path) {
            return None;
        }
        match self.read(file, buffer, items) {
            Ok(content) => Some(content),
            Err(ContextError::Cancelled) => {
                self.failure.cancel();
                None
            }
            Err(error) => {
                self.failure.record(file.path, error);
                None
            }
        }
    }

    fn read(
        &self,
        &Unread { path, place, size: expected, modified }: &Unread<'_>,
        buffer: &mut [u8],
        items: &mut Vec<Item>,
    ) -> Result<Content, ContextError> {
        let now = digest_cache::now();
        let file = open_unchecked(self.root, path)?;
        let mut reading = Reading { file, path, buffer, hasher: Sha256::new(), size: 0 };
        reading.read_to(expected, self.cancelled)?;
        let metadata = metadata(&reading.file, path)?;
        // What the metadata say to be all need not be asked for more, unless they know nothing, as in `/proc`.
        if reading.size == 0 || reading.size != metadata.len() {
            reading.read_to(u64::MAX, self.cancelled)?;
        }
        let digest = Digest::from_sha256(reading.hasher.finalize().into());
        let (device, _) = place.directory;
        let latest = self.session.latest_change();
        // Whoever has written to the file since `now` has made it one that has not settled.
        let stamp = Stamp::of(&metadata).filter(|stamp| place.clock.trusts(stamp, device, now, latest));
        items.extend(stamp.filter(|_| self.session.is_used()).map(|stamp| Item { stamp, digest }));
        // The time is that of before: if the file was written meanwhile, it is not that of what was read,
        // and whoever compares times sees a difference.
        Ok(Content { mode: file_mode(&metadata, self.selection), modified, size: reading.size, digest })
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
    path: &'r str,
    buffer: &'r mut [u8],
    hasher: Sha256,
    size: u64,
}

impl Reading<'_> {
    /// Reads until there are `limit` bytes or more, or no more.
    fn read_to(&mut self, limit: u64, cancelled: Cancelled<'_>) -> Result<(), ContextError> {
        while self.size < limit {
            if cancelled() {
                return Err(ContextError::Cancelled);
            }
            let length = read(&mut self.file, self.buffer).map_err(|error| {
                // It may be that it cannot be read as it is not a file any more.
                let changed = metadata(&self.file, self.path).err();
                changed.unwrap_or_else(|| ContextError::reading(self.path, error))
            })?;
            if length == 0 {
                break;
            }
            self.hasher.update(&self.buffer[..length]);
            self.size += length as u64;
        }
        Ok(())
    }
}
