//! Files of variables that were read, so that each is read once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::document::node::Node;
use crate::project::varfile::Format;

/// The files of variables that a project has read. Its clones share them.
#[derive(Clone, Default)]
pub(crate) struct VariableFiles(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// By the path that a text names, and by the one without links that it leads to: many modules name one file, each from
    /// its own directory.
    files: HashMap<(PathBuf, Format), Arc<Node>>,
    /// How much text they had.
    bytes: usize,
}

/// Whether a file was read already makes no difference to what a project is.
impl PartialEq for VariableFiles {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl VariableFiles {
    /// So much text is kept, in bytes; files beyond are read each time.
    const MOST: usize = 16 * 1024 * 1024;

    /// Returns what the file at `path` holds if it was read before.
    pub(super) fn get(&self, path: &Path, format: Format) -> Option<Arc<Node>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.files.get(&(path.to_owned(), format)).map(Arc::clone)
    }

    /// Keeps `variables`, which the file at `path` with a text of so many `bytes` holds. What was kept before counts.
    pub(super) fn keep(&self, path: &Path, format: Format, variables: Arc<Node>, bytes: usize) -> Arc<Node> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (path.to_owned(), format);
        if let Some(before) = kept.files.get(&place) {
            return Arc::clone(before);
        }
        // An empty file takes room, too.
        let total = kept.bytes.saturating_add(bytes).saturating_add(path.as_os_str().len());
        if total <= Self::MOST {
            kept.bytes = total;
            kept.files.insert(place, Arc::clone(&variables));
        }
        variables
    }
}
