//! Reads and digests the files that a walk has found, on several threads.

use std::fs::{File, Metadata};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};

use super::super::digest_cache::{self, Item, Session, Stamp};
use super::super::manifest::{Content, Record};
use super::super::selection::Selection;
use super::super::{Cancelled, ContextError};
use super::threads::{self, Failure, lock};
use super::walk::{Place, Walked, file_mode};
use super::{BUFFER, open, read};
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
        let paths: Vec<(String, Place)> = large
            .iter()
            .map(|(number, position, _)| {
                let Walked { folder, place, .. } = &walked[*number];
                (folder.path(*position), *place)
            })
            .collect();
        let pieces = walked.iter_mut().flat_map(|walked| {
            let place = walked.place;
            walked.folder.pieces(PIECE).map(move |piece| (place, piece))
        });
        let is_unread = |record: &Record| record.unread().is_some_and(|size| size < LARGE);
        let pieces = Mutex::new(pieces.filter(|(_, (_, _, records))| records.iter().any(is_unread)));
        threads::all(|| {
            let mut buffer = vec![0; BUFFER];
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((path, place)) = paths.get(index) else { break };
                let mut items = Vec::new();
                if let Some(content) = work.file(path, *place, &mut buffer, &mut items) {
                    done.push((index, content));
                }
                work.store(*place, items);
            }
            loop {
                let Some((place, (prefix, text, records))) = lock(&pieces).next() else { break };
                let mut items = Vec::new();
                for record in records.iter_mut().filter(|record| is_unread(record)) {
                    let path = format!("{prefix}{}", record.name(text));
                    if let Some(content) = work.file(&path, place, &mut buffer, &mut items) {
                        record.set(&content);
                    }
                }
                work.store(place, items);
            }
            done
        })
    };
    for (index, content) in done.into_iter().flatten() {
        let (number, position, _) = large[index];
        if let Some(record) = walked[number].folder.record_mut(position) {
            record.set(&content);
        }
    }
    work.failure.result()
}

/// Returns folder number, position and size of all large files, the largest first.
fn large_files(walked: &[Walked]) -> Vec<(usize, usize, u64)> {
    let mut large = Vec::new();
    for (number, Walked { folder, .. }) in walked.iter().enumerate() {
        let records = folder.records().iter().enumerate();
        large.extend(records.filter_map(|(position, record)| {
            record.unread().filter(|size| *size >= LARGE).map(|size| (number, position, size))
        }));
    }
    large.sort_by_key(|(.., size)| std::cmp::Reverse(*size));
    large
}

struct Work<'w> {
    root: &'w Path,
    selection: &'w Selection,
    session: &'w Session,
    cancelled: Cancelled<'w>,
    failure: Failure,
}

impl Work<'_> {
    /// Digests the file at `path`, and adds to `items` what the cache may keep of it.
    fn file(&self, path: &str, place: Place, buffer: &mut [u8], items: &mut Vec<Item>) -> Option<Content> {
        if self.failure.is_before(path) {
            return None;
        }
        match self.read(path, place, buffer, items) {
            Ok(content) => Some(content),
            Err(ContextError::Cancelled) => {
                self.failure.cancel();
                None
            }
            Err(error) => {
                self.failure.record(path, error);
                None
            }
        }
    }

    fn read(
        &self,
        path: &str,
        place: Place,
        buffer: &mut [u8],
        items: &mut Vec<Item>,
    ) -> Result<Content, ContextError> {
        let reading = |error| ContextError::reading(path, error);
        let now = digest_cache::now();
        let (mut file, metadata) = open(self.root, path)?;
        // Asked before reading: if the file is written meanwhile, the time is not that of what was read,
        // and whoever compares times sees a difference.
        let modified = metadata.modified().map_err(reading)?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        loop {
            if (self.cancelled)() {
                return Err(ContextError::Cancelled);
            }
            let length = read(&mut file, buffer).map_err(reading)?;
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            size += length as u64;
        }
        let digest = Digest::from_sha256(hasher.finalize().into());
        let stamp = self.session.is_used().then(|| unchanged(&metadata, &file)).flatten();
        let (device, _) = place.directory;
        let latest = self.session.latest_change();
        items.extend(
            stamp
                .filter(|stamp| place.clock.trusts(stamp, device, now, latest))
                .map(|stamp| Item { stamp, digest }),
        );
        Ok(Content { mode: file_mode(&metadata, self.selection), modified, size, digest })
    }

    fn store(&self, place: Place, items: Vec<Item>) {
        if !items.is_empty() {
            self.session.replace(place.directory, items);
        }
    }
}

/// The stamp of a file that is now what it was `before` it was read.
fn unchanged(before: &Metadata, file: &File) -> Option<Stamp> {
    let after = Stamp::of(&file.metadata().ok()?)?;
    Stamp::of(before).filter(|before| *before == after)
}
