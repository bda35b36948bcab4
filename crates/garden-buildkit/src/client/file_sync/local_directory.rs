use std::collections::HashMap;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use garden_build_core::context::{Cancelled, CheckedFile, ContextError, Filter, PathBytes, Sieve, Verdict};

use super::{Content, Listed, Source, Stat, SyncError, Wanted, stat};

mod attributes;
#[cfg(test)]
mod tests;

/// A directory as it is, sent as `BuildKit`'s own client does (fsutil's `fs.go`, `stat.go`, `hardlinks.go`).
///
/// Entries of all kinds are sent with their real modes, times and extended attributes, but belong to user and
/// group 0. Of several hard links the first that is wanted is sent as a file, the others as links to it. A
/// socket becomes an empty file.
#[derive(Clone, Debug)]
pub struct LocalDirectory {
    root: PathBuf,
}

impl LocalDirectory {
    /// Sends the directory at `root`, which may be a symbolic link to it.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn new(root: &Path) -> Result<Self, SyncError> {
        let missing = |reason| ContextError::RootUnreadable { path: root.to_owned(), reason };
        let real = root.canonicalize().map_err(missing)?;
        if real.is_dir() {
            Ok(Self { root: real })
        } else {
            Err(ContextError::RootNotADirectory(root.to_owned()).into())
        }
    }
}

impl Source for LocalDirectory {
    fn link(&self, path: &PathBytes) -> Result<Option<PathBytes>, SyncError> {
        let reading = |reason| ContextError::Unreadable { path: path.clone(), reason };
        let real = self.root.join(path.as_path().map_err(reading)?);
        let target = match fs::symlink_metadata(&real) {
            Ok(metadata) if metadata.is_symlink() => fs::read_link(&real).map(Some),
            Ok(_) => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        };
        let target = target.map_err(reading)?;
        Ok(target.and_then(|target| PathBytes::from_os(target.as_os_str())))
    }

    fn names(&self, directory: &str) -> Result<Vec<PathBytes>, SyncError> {
        let real = self.root.join(directory);
        let is_directory = fs::symlink_metadata(&real).is_ok_and(|metadata| metadata.is_dir());
        let entries = if is_directory { sorted_entries(&real) } else { Ok(Vec::new()) };
        let entries =
            entries.map_err(|reason| ContextError::Unreadable { path: directory.into(), reason })?;
        Ok(entries.iter().filter_map(|entry| PathBytes::from_os(&entry.file_name())).collect())
    }

    fn list(
        &self,
        filter: &Filter,
        cancelled: Cancelled<'_>,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), SyncError> {
        let mut walk =
            Walk { sieve: Sieve::new(filter), kept: Vec::new(), links: HashMap::new(), cancelled, each };
        walk.directory(&self.root, &PathBytes::default(), false).map(|_| ())
    }

    fn open(&self, file: &Wanted) -> Result<Box<dyn Content>, SyncError> {
        if file.key == SOCKET {
            return Ok(Box::new(Nothing));
        }
        Ok(Box::new(CheckedFile::open(&self.root, &file.path, file.size, None)?))
    }
}

/// The [`Listed::key`]s: files are found by their paths, and a socket cannot be opened.
const FILE: usize = 0;
const SOCKET: usize = 1;

struct Nothing;

impl Content for Nothing {
    fn read(&mut self, _: &mut Vec<u8>, _: usize) -> Result<bool, SyncError> {
        Ok(true)
    }
}

struct Walk<'w> {
    sieve: Sieve<'w, Listed>,
    kept: Vec<Listed>,
    /// The first path that was sent of each file that has several.
    links: HashMap<attributes::FileId, PathBytes>,
    cancelled: Cancelled<'w>,
    each: &'w mut dyn FnMut(Listed) -> ControlFlow<()>,
}

impl Walk<'_> {
    /// Walks through `directory`, called `name`. `is_dropped` says that only something in it may be wanted.
    fn directory(
        &mut self,
        directory: &Path,
        name: &PathBytes,
        is_dropped: bool,
    ) -> Result<ControlFlow<()>, SyncError> {
        let entries = match sorted_entries(directory) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => return Ok(ControlFlow::Continue(())),
            Err(error) if is_dropped && error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(ControlFlow::Continue(()));
            }
            Err(reason) if name.as_bytes().is_empty() => {
                return Err(ContextError::RootUnreadable { path: directory.to_owned(), reason }.into());
            }
            Err(reason) => return Err(ContextError::Unreadable { path: name.clone(), reason }.into()),
        };
        for entry in entries {
            if (self.cancelled)() {
                return Err(ContextError::Cancelled.into());
            }
            if self.entry(&entry, name)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn entry(&mut self, entry: &DirEntry, parent: &PathBytes) -> Result<ControlFlow<()>, SyncError> {
        let file_name = entry.file_name();
        let slash = if parent.as_bytes().is_empty() { &b""[..] } else { b"/" };
        let path: PathBytes = [parent.as_bytes(), slash, file_name.as_encoded_bytes()].concat().into();
        let file_type = match entry.file_type() {
            Ok(file_type) => file_type,
            Err(error) if is_gone(&error) => return Ok(ControlFlow::Continue(())),
            Err(reason) => return Err(ContextError::Unreadable { path, reason }.into()),
        };
        let is_directory = file_type.is_dir();
        let verdict = self.sieve.sift(path.as_bytes(), is_directory);
        if verdict == Verdict::Drop {
            return Ok(ControlFlow::Continue(()));
        }
        if PathBytes::from_os(&file_name).is_none() {
            return Err(ContextError::NameNotUtf8(path.to_string()).into());
        }
        let real = entry.path();
        let listed = match self.listed(&real, &path, verdict == Verdict::Keep) {
            Ok(listed) => listed,
            // Whatever vanishes during the walk was not there.
            Err(SyncError::Context(ContextError::Changed(_))) => return Ok(ControlFlow::Continue(())),
            Err(error) => return Err(error),
        };
        if verdict == Verdict::Search {
            self.sieve.search(path.as_bytes(), listed);
            return self.directory(&real, &path, true);
        }
        self.sieve.keep(is_directory.then_some(path.as_bytes()), listed, &mut self.kept);
        for listed in self.kept.drain(..) {
            if (self.each)(listed).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if is_directory { self.directory(&real, &path, false) } else { Ok(ControlFlow::Continue(())) }
    }

    /// Describes an entry (`mkstat` in `stat.go`); if it `is_kept`, one that is a hard link as such.
    fn listed(&mut self, real: &Path, path: &PathBytes, is_kept: bool) -> Result<Listed, SyncError> {
        let gone_or_unreadable = |reason: io::Error| {
            let path = path.clone();
            if is_gone(&reason) {
                ContextError::Changed(path)
            } else {
                ContextError::Unreadable { path, reason }
            }
        };
        let metadata = fs::symlink_metadata(real).map_err(gone_or_unreadable)?;
        let mode = attributes::mode(&metadata);
        let (devmajor, devminor) = attributes::device(&metadata);
        let mut described = Stat {
            path: path.as_bytes().to_vec(),
            mode: mode & !stat::mode::SOCKET,
            mod_time: modified(&metadata),
            devmajor,
            devminor,
            xattrs: attributes::extended(real).map_err(gone_or_unreadable)?,
            ..Stat::default()
        };
        if metadata.is_symlink() {
            let target = fs::read_link(real).map_err(gone_or_unreadable)?;
            let target = PathBytes::from_os(target.as_os_str());
            described.linkname = target.ok_or_else(|| ContextError::TargetNotUtf8(path.clone()))?.into();
        } else if !metadata.is_dir()
            && is_kept
            && let Some(id) = attributes::shared_file(&metadata)
        {
            let first = self.links.entry(id).or_insert_with(|| path.clone());
            if first != path {
                described.linkname = first.as_bytes().to_vec();
            }
        }
        if !metadata.is_dir() {
            described.size = stat::signed(metadata.len());
        }
        let key = if mode & stat::mode::SOCKET == 0 { FILE } else { SOCKET };
        Ok(Listed { stat: described, key })
    }
}

fn modified(metadata: &Metadata) -> i64 {
    metadata.modified().map_or(0, stat::nanoseconds)
}

fn sorted_entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_cached_key(DirEntry::file_name);
    Ok(entries)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
