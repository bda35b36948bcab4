use std::sync::Arc;
use std::time::SystemTime;

use crate::Digest;
use crate::version::FramedHasher;

/// The modes that git knows. Without them, the same checkout under two umasks would be two different contexts,
/// and nothing would be found in a cache.
pub(super) const EXECUTABLE: u32 = 0o755;
pub(super) const ORDINARY: u32 = 0o644;
pub(super) const LINK: u32 = 0o777;

/// What a build context consists of: every kept entry, with the digest of its content.
///
/// Its [`digest`](Self::digest) does not depend on when or by whom a file was written, nor on where the
/// context lies, so it is the same on every machine that has the same files. Except on Windows: it has
/// no executable bit, which is taken as set there, so digests (and versions) made there differ from all
/// others. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    entries: Arc<[Entry]>,
    digest: Digest,
}

/// One entry of a [`Manifest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Relative to the context, with slashes.
    pub path: String,
    /// The permissions, as the lowest twelve bits of a Unix mode.
    ///
    /// Those that git knows: 0755 for directories and for files that their owner may execute (on Windows
    /// all files), 0644 for other files, 0777 for links.
    pub mode: u32,
    /// What the entry is.
    pub kind: EntryKind,
    /// When its content was last modified, or the link made. Not part of the manifest's digest: a
    /// checkout sets it to the time of the checkout. Who keeps files from one build to the next needs it.
    pub modified: SystemTime,
}

/// What an [`Entry`] is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// An ordinary file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The digest of its content.
        digest: Digest,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as it is written.
        target: String,
    },
}

impl Manifest {
    /// Makes a manifest of `entries`, which a walk has put in order: names compared byte by byte,
    /// each directory directly followed by what is in it.
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        debug_assert!(
            entries.is_sorted_by(|one, next| one.path.split('/').lt(next.path.split('/'))),
            "the walk is out of order"
        );
        let digest = digest(&entries);
        Self { entries: entries.into(), digest }
    }

    /// Returns the entries in the order in which `BuildKit` wants them: names compared byte by byte,
    /// and a directory directly before what is in it.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        self.entries.iter().cloned()
    }

    /// Returns the entry at `path`, if there is one.
    pub fn find(&self, path: &str) -> Option<Entry> {
        self.position(path).ok().map(|position| self.entries[position].clone())
    }

    /// Returns the names of what is directly in `directory`, in order; the context itself is `""`.
    pub fn names_in<'m>(&'m self, directory: &str) -> impl Iterator<Item = &'m str> + 'm {
        let (prefix, below) = match (directory, self.position(directory)) {
            ("", _) => (String::new(), &self.entries[..]),
            (directory, Ok(position)) => (format!("{directory}/"), &self.entries[position + 1..]),
            (_, Err(_)) => (String::new(), &[][..]),
        };
        let below = below.iter().map_while(move |entry| entry.path.strip_prefix(&prefix));
        below.filter(|path| !path.contains('/'))
    }

    /// Returns the position of `path`, or of what follows it.
    fn position(&self, path: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.path.split('/').cmp(path.split('/')))
    }

    /// Returns the digest of all entries. It changes if any path, content, link target or mode does.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the number of ordinary files.
    pub fn file_count(&self) -> usize {
        self.sizes().count()
    }

    /// Returns the sum of the lengths of all files.
    pub fn total_bytes(&self) -> u64 {
        self.sizes().sum()
    }

    fn sizes(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().filter_map(|entry| match entry.kind {
            EntryKind::File { size, .. } => Some(size),
            _ => None,
        })
    }
}

fn digest(entries: &[Entry]) -> Digest {
    let mut hasher = FramedHasher::new("garden-build manifest 1");
    for Entry { path, mode, kind, modified: _ } in entries {
        match kind {
            EntryKind::Directory => hasher.field("directory", path.as_bytes()),
            EntryKind::File { digest, .. } => {
                hasher.field(if *mode == EXECUTABLE { "executable" } else { "file" }, path.as_bytes());
                hasher.field("content", digest.as_bytes());
            }
            EntryKind::Symlink { target } => {
                hasher.field("link", path.as_bytes());
                hasher.field("target", target.as_bytes());
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, mode: u32, kind: EntryKind) -> Entry {
        Entry { path: path.to_owned(), mode, kind, modified: SystemTime::UNIX_EPOCH }
    }

    fn file(path: &str, content: &str) -> Entry {
        let (size, digest) = (content.len() as u64, Digest::of(content.as_bytes()));
        entry(path, ORDINARY, EntryKind::File { size, digest })
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, LINK, EntryKind::Symlink { target: target.to_owned() })
    }

    fn directory(path: &str) -> Entry {
        entry(path, EXECUTABLE, EntryKind::Directory)
    }

    #[test]
    fn differs_when_anything_that_a_build_can_see_differs() {
        let manifests = [
            vec![],
            vec![file("a", "bc")],
            vec![file("b", "bc")],
            vec![file("ab", "c")],
            vec![file("a", "bd")],
            vec![Entry { mode: EXECUTABLE, ..file("a", "bc") }],
            vec![link("a", "bc")],
            vec![link("ab", "c")],
            vec![link("a", "bd")],
            vec![file("a", "bc"), directory("empty")],
            vec![directory("a")],
            vec![file("a", ""), file("b", "")],
            vec![directory("a"), file("a/b", "")],
        ]
        .map(Manifest::new);
        for (index, manifest) in manifests.iter().enumerate() {
            let earlier = manifests[..index].iter().position(|earlier| earlier.digest() == manifest.digest());
            assert_eq!(earlier, None, "{index} is not unique");
        }
    }

    #[test]
    fn times_are_known_but_not_part_of_the_digest() {
        let old = Manifest::new(vec![file("a", "1")]);
        let modified = SystemTime::now();
        let new = Manifest::new(vec![Entry { modified, ..file("a", "1") }]);
        assert_eq!(old.digest(), new.digest());
        assert_eq!(new.find("a").map(|entry| entry.modified), Some(modified));
    }

    #[test]
    fn counts_files_and_their_bytes_only() {
        let manifest =
            Manifest::new(vec![directory("d"), file("d/a", "123"), link("d/b", "a"), file("e", "4")]);
        assert_eq!((manifest.file_count(), manifest.total_bytes(), manifest.entries().len()), (2, 4, 4));
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn a_directory_stands_directly_before_what_is_in_it() {
        // As plain strings these are in order, because `-` comes before `/`.
        let _ = Manifest::new(vec![directory("a"), file("a-b", ""), file("a/b", "")]);
    }
}
