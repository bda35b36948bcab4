use std::ops::ControlFlow;

use garden_build_core::context::{Cancelled, CheckedFile, ContextError, Entry, EntryKind, Filter, Tree};

use super::{Content, Listed, Source, Stat, SyncError, Wanted, stat};

/// A directory that was scanned before: exactly what its manifest lists, and what its version stands for.
///
/// Owners and permissions are as in the archive that other modes send, so that an image does not depend on how
/// it was built. Every file is digested again while it is sent; one that has changed fails the sync.
#[derive(Clone, Debug)]
pub struct ScannedTree {
    tree: Tree,
}

impl ScannedTree {
    /// Sends `tree`.
    pub fn new(tree: Tree) -> Self {
        Self { tree }
    }

    fn entries(&self) -> &[Entry] {
        self.tree.manifest().entries()
    }

    /// Returns the position of `path`, or of what follows it.
    fn position(&self, path: &str) -> Result<usize, usize> {
        self.entries().binary_search_by(|entry| entry.path.split('/').cmp(path.split('/')))
    }
}

impl Source for ScannedTree {
    fn link(&self, path: &str) -> Result<Option<String>, SyncError> {
        let entry = self.position(path).ok().map(|position| &self.entries()[position].kind);
        Ok(match entry {
            Some(EntryKind::Symlink { target }) => Some(target.clone()),
            _ => None,
        })
    }

    fn names(&self, directory: &str) -> Result<Vec<String>, SyncError> {
        let (prefix, below) = match (directory, self.position(directory)) {
            (".", _) => (String::new(), self.entries()),
            (directory, Ok(position)) => (format!("{directory}/"), &self.entries()[position + 1..]),
            (_, Err(_)) => return Ok(Vec::new()),
        };
        let below = below.iter().map_while(|entry| entry.path.strip_prefix(&prefix));
        Ok(below.filter(|path| !path.contains('/')).map(str::to_owned).collect())
    }

    fn list(
        &self,
        filter: &Filter,
        _: Cancelled<'_>,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), SyncError> {
        let entries = self.entries().iter().enumerate();
        for (key, entry) in filter.select(entries, |(_, entry)| (entry.path.as_str(), is_directory(entry))) {
            if each(Listed { stat: stat_of(entry), key }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, file: &Wanted) -> Result<Box<dyn Content>, SyncError> {
        let entry = self.entries().get(file.key).ok_or_else(|| ContextError::Changed(file.path.clone()))?;
        Ok(Box::new(self.tree.open(entry)?))
    }
}

impl Content for CheckedFile {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> Result<bool, SyncError> {
        Ok(CheckedFile::read(self, buffer, limit)?)
    }
}

fn is_directory(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Directory)
}

fn stat_of(entry: &Entry) -> Stat {
    let path = entry.path.clone();
    match &entry.kind {
        EntryKind::Directory => stat::directory(path, stat::nanoseconds(entry.modified)),
        EntryKind::File { executable, size, digest } => {
            stat::file(path, *executable, *size, stat::content_time(entry.modified, digest))
        }
        EntryKind::Symlink { target } => {
            stat::symlink(path, target.clone(), stat::nanoseconds(entry.modified))
        }
    }
}
