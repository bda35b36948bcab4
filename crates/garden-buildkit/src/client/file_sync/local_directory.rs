use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::vec;

use garden_build_core::context::{
    self, Cancelled, CheckedFile, ContextError, FileKind, Filter, OpenDirectory, PathBytes, Sieve, Verdict,
};

use super::{Content, Listed, Source, Stat, SyncError, Wanted, stat};

mod attributes;
#[cfg(test)]
mod tests;

/// A directory as it is, sent as `BuildKit`'s own client does (fsutil's `fs.go`, `stat.go`, `hardlinks.go`).
///
/// Entries of all kinds are sent with their real modes, times and extended attributes, but belong to user and
/// group 0. Of several hard links the first that is wanted is sent as a file, the others as links to it. A
/// socket becomes an empty file. Nothing is reached through a link, not even if a directory becomes one meanwhile.
#[derive(Clone, Debug)]
pub struct LocalDirectory {
    root: OpenDirectory,
}

impl LocalDirectory {
    /// Sends the directory at `root`, which may be a symbolic link to it.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn new(root: &Path) -> Result<Self, SyncError> {
        match OpenDirectory::open(root) {
            Ok(root) => Ok(Self { root }),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(ContextError::RootNotADirectory(root.to_owned()).into())
            }
            Err(reason) => Err(ContextError::RootUnreadable { path: root.to_owned(), reason }.into()),
        }
    }
}

impl Source for LocalDirectory {
    fn link(&self, path: &PathBytes) -> Result<Option<PathBytes>, SyncError> {
        let target = path.as_path().and_then(|path| {
            let is_link = self.root.attributes(path)?.kind == FileKind::Link;
            is_link.then(|| self.root.read_link(path)).transpose()
        });
        match target {
            Ok(target) => Ok(target.and_then(|target| PathBytes::from_os(target.as_os_str()))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(reason) => Err(ContextError::Unreadable { path: path.clone(), reason }.into()),
        }
    }

    fn names(&self, directory: &str) -> Result<Vec<PathBytes>, SyncError> {
        let path = if directory == "." { "" } else { directory };
        match self.root.directory(Path::new(path)).and_then(|directory| directory.list()) {
            Ok(listed) => Ok(listed.iter().filter_map(|listed| PathBytes::from_os(&listed.name)).collect()),
            Err(error) if is_gone(&error) => Ok(Vec::new()),
            Err(reason) => Err(ContextError::Unreadable { path: directory.into(), reason }.into()),
        }
    }

    fn list(
        &self,
        filter: &Filter,
        cancelled: Cancelled<'_>,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), SyncError> {
        let mut walk = Walk {
            root: &self.root,
            sieve: Sieve::new(filter),
            kept: Vec::new(),
            links: HashMap::new(),
            levels: Vec::new(),
            cancelled,
            each,
        };
        walk.enter(PathBytes::default(), false)?;
        walk.all()
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
    root: &'w OpenDirectory,
    sieve: Sieve<'w, Listed>,
    kept: Vec<Listed>,
    /// The first path that was sent of each file that has several.
    links: HashMap<attributes::FileId, PathBytes>,
    /// The directories that are being walked through, from the root. A list, so that no depth of directories is a depth
    /// of calls.
    levels: Vec<Level>,
    cancelled: Cancelled<'w>,
    each: &'w mut dyn FnMut(Listed) -> ControlFlow<()>,
}

struct Level {
    path: PathBytes,
    /// Closed while something in it is walked through: a process may have few descriptors.
    open: Option<OpenDirectory>,
    rest: vec::IntoIter<context::Listed>,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), SyncError> {
        while let Some(level) = self.levels.last_mut() {
            let Some(entry) = level.rest.next() else {
                self.levels.pop();
                continue;
            };
            let open = match level.open.take() {
                Some(open) => open,
                None => match opened(self.root, &level.path) {
                    Ok(open) => open,
                    // Whatever vanishes during the walk was not there.
                    Err(error) if is_gone(&error) => {
                        self.levels.pop();
                        continue;
                    }
                    Err(reason) => {
                        return Err(ContextError::Unreadable { path: level.path.clone(), reason }.into());
                    }
                },
            };
            let parent = level.path.clone();
            level.open = Some(open.clone());
            if (self.cancelled)() {
                return Err(ContextError::Cancelled.into());
            }
            if self.entry(&open, &entry, &parent)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Goes on with what is in the directory `path`. `is_dropped` says that only something in it may be wanted.
    fn enter(&mut self, path: PathBytes, is_dropped: bool) -> Result<(), SyncError> {
        if let Some(parent) = self.levels.last_mut() {
            parent.open = None;
        }
        let listed = opened(self.root, &path).and_then(|open| open.list().map(|rest| (open, rest)));
        match listed {
            Ok((open, rest)) => {
                self.levels.push(Level { path, open: Some(open), rest: rest.into_iter() });
                Ok(())
            }
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) if is_dropped && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(reason) if path.as_bytes().is_empty() => {
                Err(ContextError::RootUnreadable { path: self.root.path().to_owned(), reason }.into())
            }
            Err(reason) => Err(ContextError::Unreadable { path, reason }.into()),
        }
    }

    fn entry(
        &mut self,
        open: &OpenDirectory,
        entry: &context::Listed,
        parent: &PathBytes,
    ) -> Result<ControlFlow<()>, SyncError> {
        let slash = if parent.as_bytes().is_empty() { &b""[..] } else { b"/" };
        let path: PathBytes = [parent.as_bytes(), slash, entry.name.as_encoded_bytes()].concat().into();
        let kind = match open.kind(entry) {
            Ok(kind) => kind,
            Err(error) if is_gone(&error) => return Ok(ControlFlow::Continue(())),
            Err(reason) => return Err(ContextError::Unreadable { path, reason }.into()),
        };
        let is_directory = kind == FileKind::Directory;
        let verdict = self.sieve.sift(path.as_bytes(), is_directory);
        if verdict == Verdict::Drop {
            return Ok(ControlFlow::Continue(()));
        }
        if PathBytes::from_os(&entry.name).is_none() {
            return Err(ContextError::NameNotUtf8(path.to_string()).into());
        }
        let listed = match self.listed(open, Path::new(&entry.name), &path, verdict == Verdict::Keep) {
            Ok(listed) => listed,
            Err(SyncError::Context(ContextError::Changed(_))) => return Ok(ControlFlow::Continue(())),
            Err(error) => return Err(error),
        };
        if verdict == Verdict::Search {
            self.sieve.search(path.as_bytes(), listed);
            self.enter(path, true)?;
            return Ok(ControlFlow::Continue(()));
        }
        self.sieve.keep(is_directory.then_some(path.as_bytes()), listed, &mut self.kept);
        for listed in self.kept.drain(..) {
            if (self.each)(listed).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if is_directory {
            self.enter(path, false)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Describes an entry (`mkstat` in `stat.go`); if it `is_kept`, one that is a hard link as such.
    fn listed(
        &mut self,
        open: &OpenDirectory,
        name: &Path,
        path: &PathBytes,
        is_kept: bool,
    ) -> Result<Listed, SyncError> {
        let gone_or_unreadable = |reason: io::Error| {
            let path = path.clone();
            if is_gone(&reason) {
                ContextError::Changed(path)
            } else {
                ContextError::Unreadable { path, reason }
            }
        };
        let seen = open.attributes(name).map_err(gone_or_unreadable)?;
        let mode = attributes::mode(&seen);
        let (devmajor, devminor) = attributes::device(&seen);
        let mut described = Stat {
            path: path.as_bytes().to_vec(),
            mode: mode & !stat::mode::SOCKET,
            mod_time: stat::nanoseconds(seen.modified),
            devmajor,
            devminor,
            xattrs: attributes::extended(open, name, seen.kind).map_err(gone_or_unreadable)?,
            ..Stat::default()
        };
        if seen.kind == FileKind::Link {
            let target = open.read_link(name).map_err(gone_or_unreadable)?;
            let target = PathBytes::from_os(target.as_os_str());
            described.linkname = target.ok_or_else(|| ContextError::TargetNotUtf8(path.clone()))?.into();
        } else if seen.kind != FileKind::Directory
            && is_kept
            && let Some(id) = attributes::shared_file(&seen)
        {
            let first = self.links.entry(id).or_insert_with(|| path.clone());
            if first != path {
                described.linkname = first.as_bytes().to_vec();
            }
        }
        if seen.kind != FileKind::Directory {
            described.size = stat::signed(seen.size);
        }
        let key = if mode & stat::mode::SOCKET == 0 { FILE } else { SOCKET };
        Ok(Listed { stat: described, key })
    }
}

fn opened(root: &OpenDirectory, path: &PathBytes) -> io::Result<OpenDirectory> {
    root.directory(path.as_path()?)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
