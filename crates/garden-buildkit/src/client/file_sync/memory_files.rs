use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use garden_build_core::Digest;
use garden_build_core::context::{Cancelled, ContextError, Filter, MODIFIED, PathBytes};

use super::{Content, Listed, Source, Stat, SyncError, Wanted, stat};

/// A few files that exist in memory only, such as the Dockerfile and its ignore file.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    entries: Arc<[Entry]>,
}

#[derive(Debug)]
struct Entry {
    stat: Stat,
    /// `None` for a directory.
    content: Option<Arc<[u8]>>,
}

impl MemoryFiles {
    /// Makes a tree of `files`, each with its slash-separated path. Of two with the same path, the latter
    /// counts.
    pub fn new<P: AsRef<str>, C: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        let mut tree: BTreeMap<Vec<String>, Option<Arc<[u8]>>> = BTreeMap::new();
        for (path, content) in files {
            let components: Vec<String> = path.as_ref().split('/').map(str::to_owned).collect();
            for length in 1..components.len() {
                tree.insert(components[..length].to_vec(), None);
            }
            tree.insert(components, Some(content.as_ref().into()));
        }
        let entries = tree.into_iter().map(|(components, content)| Entry::new(components.join("/"), content));
        Self { entries: entries.collect() }
    }
}

impl Entry {
    fn new(path: String, content: Option<Arc<[u8]>>) -> Self {
        let modified: SystemTime = UNIX_EPOCH + Duration::from_secs(MODIFIED);
        let path = path.into_bytes();
        let stat = match &content {
            None => stat::directory(path, 0o755, stat::nanoseconds(modified)),
            Some(content) => {
                let modified = stat::content_time(modified, &Digest::of(content));
                stat::file(path, 0o644, content.len() as u64, modified)
            }
        };
        Self { stat, content }
    }
}

impl Source for MemoryFiles {
    fn link(&self, _: &PathBytes) -> Result<Option<PathBytes>, SyncError> {
        Ok(None)
    }

    // Names matter only where links do.
    fn names(&self, _: &str) -> Result<Vec<PathBytes>, SyncError> {
        Ok(Vec::new())
    }

    fn list(
        &self,
        filter: &Filter,
        _: Cancelled<'_>,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), SyncError> {
        let entries = self.entries.iter().enumerate();
        for (key, entry) in filter.select(entries, |(_, entry)| (&*entry.stat.path, entry.content.is_none()))
        {
            if each(Listed { stat: entry.stat.clone(), key }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, file: &Wanted) -> Result<Box<dyn Content>, SyncError> {
        match self.entries.get(file.key).and_then(|entry| entry.content.as_ref()) {
            Some(content) => Ok(Box::new(Bytes { content: Arc::clone(content), position: 0 })),
            None => Err(ContextError::Changed(file.path.clone()).into()),
        }
    }
}

struct Bytes {
    content: Arc<[u8]>,
    position: usize,
}

impl Content for Bytes {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> Result<bool, SyncError> {
        let rest = &self.content[self.position..];
        let length = rest.len().min(limit);
        buffer.extend_from_slice(&rest[..length]);
        self.position += length;
        Ok(self.position == self.content.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_files_in_order_with_their_directories() {
        let files = MemoryFiles::new([("a/b", &b"1"[..]), ("Dockerfile", b"FROM scratch"), ("a-b", b"")]);
        let mut listed = Vec::new();
        let mut each = |entry: Listed| {
            listed.push((entry.stat.path, entry.stat.size));
            ControlFlow::Continue(())
        };
        files.list(&Filter::default(), &|| false, &mut each).expect("list");
        let expected = [("Dockerfile", 12), ("a", 0), ("a/b", 1), ("a-b", 0)];
        assert_eq!(listed, expected.map(|(path, size)| (path.as_bytes().to_vec(), size)));
    }
}
