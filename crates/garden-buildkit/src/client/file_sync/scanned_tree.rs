// Why: docs/decisions/40-buildkit-has-nothing-to-ignore.md

use std::ops::ControlFlow;

use garden_build_core::context::{
    Cancelled, CheckedFile, ContextError, Entry, EntryKind, Filter, PathBytes, Tree,
};

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

    fn find(&self, path: &PathBytes) -> Option<Entry> {
        self.tree.manifest().find(path)
    }
}

/// The only [`Listed::key`]: files are found by their paths.
const FILE: usize = 0;

impl Source for ScannedTree {
    fn link(&self, path: &PathBytes) -> Result<Option<PathBytes>, SyncError> {
        Ok(match self.find(path).map(|entry| entry.kind) {
            Some(EntryKind::Symlink { target }) => Some(target),
            _ => None,
        })
    }

    fn names(&self, directory: &str) -> Result<Vec<PathBytes>, SyncError> {
        let directory = if directory == "." { "" } else { directory };
        Ok(self.tree.manifest().names_in(directory.as_bytes()).map(PathBytes::from).collect())
    }

    fn list(
        &self,
        filter: &Filter,
        _: Cancelled<'_>,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), SyncError> {
        let entries = self.tree.manifest().entries();
        for entry in filter.select(entries, |entry| (entry.path.as_bytes(), is_directory(entry))) {
            if each(Listed { stat: stat_of(entry), key: FILE }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, file: &Wanted) -> Result<Box<dyn Content>, SyncError> {
        let entry = self.find(&file.path).ok_or_else(|| ContextError::Changed(file.path.clone()))?;
        Ok(Box::new(self.tree.open(&entry)?))
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

fn stat_of(entry: Entry) -> Stat {
    let Entry { path, mode, kind, modified } = entry;
    match kind {
        EntryKind::Directory => stat::directory(path.into(), mode, stat::nanoseconds(modified)),
        EntryKind::File { size, digest } => {
            stat::file(path.into(), mode, size, stat::content_time(modified, &digest))
        }
        EntryKind::Symlink { target } => {
            stat::symlink(path.into(), target.into(), stat::nanoseconds(modified))
        }
    }
}
