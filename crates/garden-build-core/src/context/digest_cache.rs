//! Digests of files, kept from one scan to the next.
//!
//! As in git's index, a file is taken for unchanged if device, inode, size and both times are what they were.
//! A digest is only kept if the file had settled before it was read (see [`stamp`]), so that no later change can
//! leave all of them as they are. The cache has no influence on what a scan finds, only on how long it takes:
//! whatever is missing, damaged, another user's, or cannot be written, is as if it were not there.

mod file;
mod home;
mod stamp;
#[cfg(all(test, unix))]
mod tests;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

pub(super) use self::file::{Directory, Item};
use self::file::{Draft, Stored};
pub(super) use self::stamp::{Clock, Stamp, now};
use super::OpenDirectory;
use crate::Digest;

/// Where digests of files are kept from one scan to the next, or that they are not.
///
/// There is one file for each context directory, with its path and about 72 bytes for each of its files, without their names and
/// contents. Only the user may read it. What was not used for 30 days is removed, or for two days if the directory does not exist
/// any more. What was kept of a directory that was made anew goes with its next scan. What is more than 512 MiB in all is removed, too.
/// Several processes may use the same directory. On Windows nothing is kept, as it does not tell when a file was changed.
#[derive(Clone, Debug, Default)]
pub struct DigestCache {
    directory: Option<PathBuf>,
}

impl DigestCache {
    /// Keeps nothing, and so reads all files each time.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keeps digests in `directory`, which is made when it is needed and has to belong to the user alone.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()) }
    }

    /// Removes what is kept of the context directory `root`, which is absolute and without links.
    pub(super) fn forget(&self, root: &Path) {
        if let Some(directory) = &self.directory {
            home::remove(directory, root);
        }
    }
}

/// The cache during one scan.
#[derive(Debug)]
pub(super) struct Session {
    root: PathBuf,
    /// What the context directory is now.
    top: Directory,
    /// Whether the file tells the context's path, by which it is found out that this does not exist any more.
    is_named: bool,
    directory: Option<PathBuf>,
    old: Option<Stored>,
    /// The latest change of anything on the context's own device.
    latest: AtomicI64,
    today: u32,
    outcome: Mutex<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    /// The new file, as soon as there is something new; why there is none, if it cannot be written.
    new: Option<io::Result<Draft>>,
    /// Directories whose blocks are as they were.
    unchanged: HashSet<Directory>,
    /// Directories of which there are new blocks, instead of all old ones; of a first scan, not listed.
    replaced: HashSet<Directory>,
    /// Whether there is anything to be written.
    is_new: bool,
}

impl Session {
    /// Begins a scan of `root`.
    pub(super) fn open(cache: &DigestCache, root: &OpenDirectory) -> Self {
        if cache.directory.is_none() {
            return Self::of(cache, root.path(), (0, 0), false);
        }
        let top = root.own_attributes().map(|found| (found.device, found.inode)).unwrap_or_default();
        Self::of(cache, root.path(), top, !Clock::is_elsewhere(root))
    }

    /// Begins a scan of the directory `top` at `root`, which is absolute and without links.
    fn of(cache: &DigestCache, root: &Path, top: Directory, is_named: bool) -> Self {
        let directory = cache.directory.clone();
        let file = directory.as_ref().and_then(|directory| home::open(directory, root));
        Self {
            root: root.to_owned(),
            top,
            is_named,
            directory,
            old: file.and_then(|file| Stored::read(file, root)),
            latest: AtomicI64::new(i64::MIN),
            today: day(now()),
            outcome: Mutex::default(),
        }
    }

    /// Whether anything is kept at all.
    pub(super) fn is_used(&self) -> bool {
        self.directory.is_some()
    }

    /// Returns what was kept of `directory`.
    pub(super) fn known(&self, directory: Directory) -> Known {
        Known(self.old.as_ref().map(|old| old.items(directory)).unwrap_or_default())
    }

    /// Learns that something on the context's own device was last changed at a time.
    pub(super) fn saw_change(&self, time: i64) {
        self.latest.fetch_max(time, Ordering::Relaxed);
    }

    pub(super) fn latest_change(&self) -> i64 {
        self.latest.load(Ordering::Relaxed)
    }

    /// Keeps of `directory` what is kept of it already.
    pub(super) fn keep(&self, directory: Directory) {
        self.outcome().unchanged.insert(directory);
    }

    /// Keeps of `directory` nothing but these `items`, and those of further calls.
    pub(super) fn replace(&self, directory: Directory, mut items: Vec<Item>) {
        let Some(home) = &self.directory else { return };
        items.sort_by_key(|item| item.stamp.inode);
        let mut outcome = self.outcome();
        outcome.is_new = true;
        if self.old.is_some() {
            outcome.replaced.insert(directory);
        }
        if items.is_empty() {
            return;
        }
        let new = outcome.new.get_or_insert_with(|| home::create(home).map(Draft::new));
        if let Ok(file) = new
            && let Err(error) = file.add(directory, self.today, &items)
        {
            *new = Err(error);
        }
    }

    /// Writes what was learnt; if that is nothing, only once a day, so that what is used is not forgotten.
    pub(super) fn finish(self) {
        let Some(home) = &self.directory else { return };
        let outcome = self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        let is_due = self.old.as_ref().is_some_and(|old| old.written != self.today);
        if !outcome.is_new && !is_due {
            return;
        }
        let new = outcome.new.unwrap_or_else(|| home::create(home).map(Draft::new));
        let written = new.and_then(|mut new| {
            if let Some(old) = &self.old {
                let forgotten = self.today.saturating_sub(day_count(home::FORGOTTEN_AFTER.as_secs()));
                // If the directory was made anew, only what the scan has found unchanged is kept.
                let is_same = old.top == self.top;
                for block in &old.blocks {
                    let is_unchanged = outcome.unchanged.contains(&block.directory);
                    let seen = if is_unchanged { self.today } else { block.seen };
                    let is_kept = is_unchanged || (is_same && seen >= forgotten);
                    if !outcome.replaced.contains(&block.directory) && is_kept {
                        new.copy(old, block, seen)?;
                    }
                }
            }
            home::replace(home, &self.root, new.finish(&self.root, self.top, self.is_named, self.today)?)
        });
        // Nobody has to know of an error: the next scan takes longer, that is all.
        if written.is_ok() {
            home::tidy(home);
        }
    }

    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was kept of one directory, sorted by inode.
#[derive(Debug)]
pub(super) struct Known(Vec<Item>);

impl Known {
    /// Returns the digest of the file with this `stamp`.
    pub(super) fn digest(&self, stamp: &Stamp) -> Option<Digest> {
        self.of_inode(stamp.inode).find(|item| item.stamp == *stamp).map(|item| item.digest)
    }

    /// Returns what was kept of files with this inode, which are several if they are on several devices.
    pub(super) fn of_inode(&self, inode: u64) -> impl Iterator<Item = Item> + '_ {
        let first = self.0.partition_point(|item| item.stamp.inode < inode);
        self.0[first..].iter().take_while(move |item| item.stamp.inode == inode).copied()
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.0
    }
}

fn day(nanoseconds: i64) -> u32 {
    day_count(u64::try_from(nanoseconds).unwrap_or_default() / 1_000_000_000)
}

fn day_count(seconds: u64) -> u32 {
    u32::try_from(seconds / (24 * 60 * 60)).unwrap_or(u32::MAX)
}
