//! From a directory to a [`Manifest`].

use std::fs::{self, DirEntry, File, FileType, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::git_ignore::GitIgnore;
use super::manifest::{EXECUTABLE, LINK, ORDINARY};
use super::selection::Selection;
use super::sieve::{Sieve, Verdict};
use super::{Cancelled, ContextError, Entry, EntryKind, Manifest};
use crate::Digest;

/// What is read at once, per thread.
pub(super) const BUFFER: usize = 128 * 1024;

/// More threads than this do not help: the disk is the limit.
const MAX_THREADS: usize = 16;

/// Finds what `selection` wants of `root`, and digests it.
pub(super) fn scan(
    root: &Path,
    selection: &Selection,
    cancelled: Cancelled<'_>,
) -> Result<Manifest, ContextError> {
    let Some(ignored) = GitIgnore::above(root, selection.ignore_files.as_ref())? else {
        return Ok(Manifest::new(Vec::new()));
    };
    let sieve = Sieve::new(&selection.filter);
    let mut walk = Walk { selection, ignored, sieve, kept: Vec::new(), cancelled };
    walk.directory(root, &Name::root(), false)?;
    digest_files(root, walk.kept, cancelled).map(Manifest::new)
}

/// An entry that was found and kept, but not read.
enum Found {
    Directory { path: String, modified: SystemTime },
    File(String),
    Symlink { path: String, target: String, modified: SystemTime },
}

/// A path relative to the context.
struct Name {
    /// The path; each byte that is not part of UTF-8 is U+FFFD, as Go's regular expressions see it.
    text: String,
    is_utf8: bool,
}

impl Name {
    fn root() -> Self {
        Self { text: String::new(), is_utf8: true }
    }

    fn child(&self, entry: &DirEntry) -> Self {
        let name = entry.file_name();
        let mut text = if self.text.is_empty() { String::new() } else { format!("{}/", self.text) };
        for chunk in name.as_encoded_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        Self { text, is_utf8: self.is_utf8 && name.to_str().is_some() }
    }
}

struct Walk<'a> {
    selection: &'a Selection,
    ignored: GitIgnore<'a>,
    sieve: Sieve<'a, Found>,
    kept: Vec<Found>,
    cancelled: Cancelled<'a>,
}

impl Walk<'_> {
    /// Walks through `directory`, called `name` in the context, which is itself `excluded` or not.
    fn directory(&mut self, directory: &Path, name: &Name, excluded: bool) -> Result<(), ContextError> {
        let entries = match sorted_entries(directory) {
            // Nobody asked for what is in there; it would only have been searched for exceptions.
            Err(error) if excluded && error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            Err(error) if name.text.is_empty() => {
                return Err(ContextError::RootUnreadable { path: directory.to_owned(), reason: error });
            }
            entries => entries.map_err(|error| ContextError::reading(&name.text, error))?,
        };
        self.ignored.enter(directory)?;
        for entry in entries {
            if (self.cancelled)() {
                return Err(ContextError::Cancelled);
            }
            self.entry(&entry, name)?;
        }
        self.ignored.leave();
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, parent: &Name) -> Result<(), ContextError> {
        let name = parent.child(entry);
        let file_type = entry.file_type().map_err(|error| ContextError::reading(&name.text, error))?;
        let is_directory = file_type.is_dir();
        if self.selection.excludes(&name.text) || self.ignored.ignores(&entry.path(), is_directory) {
            return Ok(());
        }
        match self.sieve.sift(&name.text, is_directory) {
            Verdict::Drop => Ok(()),
            Verdict::Search => {
                let (path, modified) = (name.text.clone(), modified(entry, &name.text)?);
                self.sieve.search(&name.text, Found::Directory { path, modified });
                self.directory(&entry.path(), &name, true)
            }
            Verdict::Keep => {
                let found = found(entry, file_type, &name)?;
                self.sieve.keep(is_directory.then_some(&name.text), found, &mut self.kept);
                if is_directory { self.directory(&entry.path(), &name, false) } else { Ok(()) }
            }
        }
    }
}

/// Lists a directory in the order of the names' bytes.
fn sorted_entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_cached_key(DirEntry::file_name);
    Ok(entries)
}

fn found(entry: &DirEntry, file_type: FileType, name: &Name) -> Result<Found, ContextError> {
    let path = name.text.clone();
    if !name.is_utf8 {
        return Err(ContextError::NameNotUtf8(path));
    }
    if file_type.is_dir() {
        let modified = modified(entry, &path)?;
        Ok(Found::Directory { path, modified })
    } else if file_type.is_file() {
        Ok(Found::File(path))
    } else if file_type.is_symlink() {
        let target = fs::read_link(entry.path()).map_err(|error| ContextError::reading(&path, error))?;
        let modified = modified(entry, &path)?;
        match target.into_os_string().into_string() {
            Ok(target) => Ok(Found::Symlink { path, target, modified }),
            Err(_) => Err(ContextError::TargetNotUtf8(path)),
        }
    } else {
        Err(ContextError::Special { path, kind: special_kind(file_type) })
    }
}

/// When the entry itself was modified; a link is not followed.
fn modified(entry: &DirEntry, path: &str) -> Result<SystemTime, ContextError> {
    let time = entry.metadata().and_then(|metadata| metadata.modified());
    time.map_err(|error| ContextError::reading(path, error))
}

#[cfg(unix)]
fn special_kind(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_socket() {
        "socket"
    } else if file_type.is_fifo() {
        "FIFO"
    } else {
        "device"
    }
}

#[cfg(not(unix))]
fn special_kind(_: FileType) -> &'static str {
    "special file"
}

/// Digests all files of `found` on several threads. The result does not depend on their number.
fn digest_files(
    root: &Path,
    found: Vec<Found>,
    cancelled: Cancelled<'_>,
) -> Result<Vec<Entry>, ContextError> {
    let files: Vec<&str> = found
        .iter()
        .filter_map(|found| match found {
            Found::File(path) => Some(path.as_str()),
            _ => None,
        })
        .collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let work = || {
        let mut buffer = vec![0; BUFFER];
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(index) else { break };
            let result = digest_file(root, path, &mut buffer, cancelled);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((index, result));
        }
        done
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(files.len());
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut results = work();
        for worker in workers {
            results.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    });
    // Files are handed out in order and every one that was begun is finished, so the first error in
    // order is the same whichever thread met it.
    results.sort_unstable_by_key(|(index, _)| *index);
    let mut kinds = results.into_iter().map(|(_, result)| result);
    let mut entries = Vec::with_capacity(found.len());
    for found in found {
        entries.push(match found {
            Found::Directory { path, modified } => {
                Entry { path, mode: EXECUTABLE, kind: EntryKind::Directory, modified }
            }
            Found::Symlink { path, target, modified } => {
                Entry { path, mode: LINK, kind: EntryKind::Symlink { target }, modified }
            }
            Found::File(path) => {
                let (mode, kind, modified) = kinds.next().unwrap_or(Err(ContextError::Cancelled))?;
                Entry { path, mode, kind, modified }
            }
        });
    }
    Ok(entries)
}

fn digest_file(
    root: &Path,
    path: &str,
    buffer: &mut [u8],
    cancelled: Cancelled<'_>,
) -> Result<(u32, EntryKind, SystemTime), ContextError> {
    let (mut file, metadata) = open(root, path)?;
    // Asked before reading: if the file is written meanwhile, the time is not that of what was read,
    // and whoever compares times sees a difference.
    let modified = metadata.modified().map_err(|error| ContextError::reading(path, error))?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    loop {
        if cancelled() {
            return Err(ContextError::Cancelled);
        }
        let length = read(&mut file, buffer).map_err(|error| ContextError::reading(path, error))?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        size += length as u64;
    }
    let digest = Digest::from_sha256(hasher.finalize().into());
    let mode = if is_executable(&metadata) { EXECUTABLE } else { ORDINARY };
    Ok((mode, EntryKind::File { size, digest }, modified))
}

/// Reads what is there, however often the system is interrupted.
pub(super) fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Opens the ordinary file `path` of the context. If it has become a link, a FIFO or anything else
/// since the walk, it is not followed, and is reported as changed.
///
/// This holds for the last component of `path` only: a directory on the way to it that has become a
/// link is followed. A file that was digested before still has to have the same digest.
pub(super) fn open(root: &Path, path: &str) -> Result<(File, Metadata), ContextError> {
    let reading = |error| ContextError::reading(path, error);
    let real = root.join(path);
    let expected = fs::symlink_metadata(&real).map_err(reading)?;
    if !expected.is_file() {
        return Err(ContextError::Changed(path.to_owned()));
    }
    let file = File::open(&real).map_err(reading)?;
    let metadata = file.metadata().map_err(reading)?;
    if !is_same_file(&expected, &metadata) {
        return Err(ContextError::Changed(path.to_owned()));
    }
    Ok((file, metadata))
}

#[cfg(unix)]
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same_file(_: &Metadata, other: &Metadata) -> bool {
    other.is_file()
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

/// Windows has no such permission. `BuildKit` sends every file as executable from there.
#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    true
}
