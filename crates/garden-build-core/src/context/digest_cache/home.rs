//! The directory with the caches of one user.
//!
//! Why: docs/decisions/21-digests-of-a-lost-directory-go.md

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::file::{name_of, root_of};
use crate::user_cache::{self, UNFINISHED_PREFIX};

/// A context that was not scanned for this long is forgotten.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A directory that does not exist may be one that only another process can see, in a container with the same cache. Whoever is
/// used every day is written every day, so a file of more than two days is none of those.
const FORGOTTEN_IF_GONE_AFTER: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// How many files are looked at each time, to see whether their directories still exist. Which ones they are is left to chance, so that
/// all have their turn, and a machine on which each job has a directory of its own gets rid of more than are added.
const LOOKED_AT: usize = 8;

/// The most that all caches together may take. Those that were written longest ago go first.
const SIZE_LIMIT: u64 = 512 * 1024 * 1024;

/// How long a file may be in the making. An older one was left by a process that was killed.
const UNFINISHED: Duration = Duration::from_secs(60 * 60);

/// The file for the context directory `root`.
fn path_of(directory: &Path, root: &Path) -> PathBuf {
    directory.join(name_of(root).hex())
}

/// Opens a cache file, if it is this user's own and nobody else can write to it.
pub(super) fn open(directory: &Path, root: &Path) -> Option<File> {
    user_cache::open_private(directory, &name_of(root).hex())
}

/// Creates a file that only this user can read, to take the place of another when it is whole.
pub(super) fn create(directory: &Path) -> io::Result<NamedTempFile> {
    user_cache::create_private(directory)
}

/// Puts a file in the place of the one for `root`.
pub(super) fn replace(directory: &Path, root: &Path, file: NamedTempFile) -> io::Result<()> {
    file.persist(path_of(directory, root))?;
    Ok(())
}

/// Removes the file for `root`, if there is one.
pub(super) fn remove(directory: &Path, root: &Path) {
    let _ = fs::remove_file(path_of(directory, root));
}

/// Removes what is too old, was never finished, or is more than there may be.
pub(super) fn tidy(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let now = SystemTime::now();
    let mut files: Vec<(Duration, u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            let age = now.duration_since(metadata.modified().ok()?).unwrap_or_default();
            metadata.is_file().then(|| (age, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total = 0;
    let mut unused = Vec::new();
    for (age, size, path) in files {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let limit = if name.starts_with(UNFINISHED_PREFIX) { UNFINISHED } else { FORGOTTEN_AFTER };
        total += size;
        if age > limit || total > SIZE_LIMIT {
            // Another process may have done it.
            let _ = fs::remove_file(path);
        } else if age > FORGOTTEN_IF_GONE_AFTER {
            unused.push(name);
        }
    }
    let first = usize::try_from(RandomState::new().hash_one(()) % unused.len().max(1) as u64);
    unused.rotate_left(first.unwrap_or_default());
    for name in unused.iter().take(LOOKED_AT).filter(|name| is_of_nothing(directory, name)) {
        // A process that reads it goes on to do so.
        let _ = fs::remove_file(directory.join(name));
    }
}

/// Whether the file `name` is about a directory that does not exist. One on another machine is not asked for, as that may not
/// answer.
fn is_of_nothing(directory: &Path, name: &str) -> bool {
    let root = user_cache::open_private(directory, name).and_then(|file| root_of(file, name));
    root.is_some_and(|root| match fs::symlink_metadata(root) {
        Ok(found) => !found.is_dir(),
        Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    })
}
