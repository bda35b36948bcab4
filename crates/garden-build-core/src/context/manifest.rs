use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::PathBytes;
use crate::{Digest, FramedHasher};

mod folder;

pub(super) use self::folder::{Content, Folder, FolderBuilder, Record};

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
#[derive(Clone)]
pub struct Manifest(Arc<Inner>);

struct Inner {
    /// The first one is that of the context itself. Not all need be in use.
    folders: Vec<Folder>,
    totals: Totals,
    digest: Digest,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    entries: usize,
    files: usize,
    bytes: u64,
}

/// One entry of a [`Manifest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Relative to the context, with slashes.
    pub path: PathBytes,
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
        target: PathBytes,
    },
}

impl Manifest {
    /// Makes a manifest of what a walk has found, in order: in each folder, names compared byte by byte.
    pub(super) fn new(folders: Vec<Folder>) -> Self {
        debug_assert!(
            folders.iter().all(|folder| {
                let names = folder.records().iter().map(|record| record.name(folder.text()));
                names.is_sorted_by(|one, next| one < next)
            }),
            "the walk is out of order"
        );
        let mut totals = Totals::default();
        let mut hasher = FramedHasher::new("garden-build manifest 1");
        for (folder, record) in Walk::new(&folders) {
            totals.entries += 1;
            if let Some((size, _)) = record.file() {
                totals.files += 1;
                totals.bytes += size;
            }
            add(&mut hasher, folder, record);
        }
        Self(Arc::new(Inner { folders, totals, digest: hasher.finish() }))
    }

    /// Returns the entries in the order in which `BuildKit` wants them: names compared byte by byte,
    /// and a directory directly before what is in it.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        Entries { walk: Walk::new(&self.0.folders), rest: self.0.totals.entries }
    }

    /// Returns the entry at `path`, if there is one.
    pub fn find(&self, path: impl AsRef<[u8]>) -> Option<Entry> {
        let path = path.as_ref();
        let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (self.folder(&path[..slash])?, &path[slash + 1..]),
            None => (self.0.folders.first()?, path),
        };
        folder.find(name).map(|record| folder.entry(record))
    }

    /// Returns the names of what is directly in `directory`, in order; the context itself is `""`.
    pub fn names_in<'m>(&'m self, directory: &[u8]) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        let folder = if directory.is_empty() { self.0.folders.first() } else { self.folder(directory) };
        let records =
            folder.into_iter().flat_map(|folder| folder.records().iter().map(move |record| (folder, record)));
        records.map(|(folder, record)| record.name(folder.text()))
    }

    fn folder(&self, directory: &[u8]) -> Option<&Folder> {
        directory.split(|byte| *byte == b'/').try_fold(self.0.folders.first()?, |folder, name| {
            self.0.folders.get(folder.find(name)?.folder()?)
        })
    }

    /// Returns the path of the first entry whose path is not UTF-8, or that is a link to what is not.
    pub fn first_not_utf8(&self) -> Option<PathBytes> {
        let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        let mut all = Walk::new(&self.0.folders);
        let (folder, record) = all.find(|(folder, record)| {
            !is_text(record.name(folder.text())) || !is_text(record.target(folder.text()))
        })?;
        Some(folder.entry(record).path)
    }

    /// Returns the digest of all entries. It changes if any path, content, link target or mode does.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Returns the number of ordinary files.
    pub fn file_count(&self) -> usize {
        self.0.totals.files
    }

    /// Returns the sum of the lengths of all files.
    pub fn total_bytes(&self) -> u64 {
        self.0.totals.bytes
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest && self.entries().eq(other.entries())
    }
}

impl Eq for Manifest {}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { folders: _, totals, digest } = &*self.0;
        f.debug_struct("Manifest").field("totals", totals).field("digest", digest).finish_non_exhaustive()
    }
}

/// Adds an entry to the digest. Modes that git knows show in the words alone, so that a tree in which there
/// are no others is the same whether modes are normalised or preserved.
fn add(hasher: &mut FramedHasher, folder: &Folder, record: &Record) {
    let path = [&*folder.prefix, record.name(folder.text())];
    let mode = record.permissions();
    let is_usual = if let Some((_, digest)) = record.file() {
        hasher.joined_field(if mode == EXECUTABLE { "executable" } else { "file" }, path);
        hasher.field("content", digest);
        matches!(mode, EXECUTABLE | ORDINARY)
    } else if record.folder().is_some() {
        hasher.joined_field("directory", path);
        mode == EXECUTABLE
    } else {
        hasher.joined_field("link", path);
        hasher.field("target", record.target(folder.text()));
        mode == LINK
    };
    if !is_usual {
        hasher.field("mode", &mode.to_be_bytes());
    }
}

/// Goes through all records in order.
struct Walk<'m> {
    folders: &'m [Folder],
    /// The folders from the context's own to the present one, each with the position of its next record.
    path: Vec<(&'m Folder, usize)>,
}

impl<'m> Walk<'m> {
    fn new(folders: &'m [Folder]) -> Self {
        Self { folders, path: folders.first().map(|folder| (folder, 0)).into_iter().collect() }
    }
}

impl<'m> Iterator for Walk<'m> {
    type Item = (&'m Folder, &'m Record);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (folder, next) = self.path.last_mut()?;
            let folder = *folder;
            let Some(record) = folder.get(*next) else {
                self.path.pop();
                continue;
            };
            *next += 1;
            if let Some(below) = record.folder().and_then(|number| self.folders.get(number)) {
                self.path.push((below, 0));
            }
            return Some((folder, record));
        }
    }
}

struct Entries<'m> {
    walk: Walk<'m>,
    rest: usize,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (folder, record) = self.walk.next()?;
        self.rest -= 1;
        Some(folder.entry(record))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rest, Some(self.rest))
    }
}

impl ExactSizeIterator for Entries<'_> {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Makes a manifest of `entries`, in which a directory precedes what is in it.
    pub(in crate::context) fn manifest(entries: Vec<Entry>) -> Manifest {
        let mut prefixes = vec![Vec::new()];
        let directories = entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
        prefixes.extend(directories.map(|entry| [entry.path.as_bytes(), b"/"].concat()));
        let mut folders: Vec<_> = prefixes.iter().map(|prefix| FolderBuilder::new(prefix)).collect();
        for Entry { path, mode, kind, modified } in entries {
            let path = path.as_bytes();
            let slash = path.iter().rposition(|byte| *byte == b'/');
            let (above, name) = path.split_at(slash.map_or(0, |slash| slash + 1));
            let number =
                |wanted: &[u8]| prefixes.iter().position(|prefix| prefix == wanted).expect("directory");
            let folder = &mut folders[number(above)];
            match kind {
                EntryKind::Directory => {
                    folder.add_directory(name, mode, modified, number(&[path, b"/"].concat()));
                }
                EntryKind::File { size, digest } => {
                    folder.add_file(name, &Content { mode, modified, size, digest });
                }
                EntryKind::Symlink { target } => folder.add_link(name, mode, modified, target.as_bytes()),
            }
        }
        Manifest::new(folders.into_iter().map(FolderBuilder::build).collect())
    }

    fn entry(path: &str, mode: u32, kind: EntryKind) -> Entry {
        Entry { path: path.into(), mode, kind, modified: SystemTime::UNIX_EPOCH }
    }

    fn file(path: &str, content: &str) -> Entry {
        let (size, digest) = (content.len() as u64, Digest::of(content.as_bytes()));
        entry(path, ORDINARY, EntryKind::File { size, digest })
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, LINK, EntryKind::Symlink { target: target.into() })
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
            vec![Entry { mode: 0o600, ..file("a", "bc") }],
            vec![Entry { mode: 0o4755, ..file("a", "bc") }],
            vec![Entry { mode: 0o700, ..directory("a") }],
            vec![link("a", "bc")],
            vec![link("ab", "c")],
            vec![link("a", "bd")],
            vec![file("a", "bc"), directory("empty")],
            vec![directory("a")],
            vec![file("a", ""), file("b", "")],
            vec![directory("a"), file("a/b", "")],
        ]
        .map(manifest);
        for (index, manifest) in manifests.iter().enumerate() {
            let earlier = manifests[..index].iter().position(|earlier| earlier.digest() == manifest.digest());
            assert_eq!(earlier, None, "{index} is not unique");
        }
    }

    #[test]
    fn times_are_known_but_not_part_of_the_digest() {
        let old = manifest(vec![file("a", "1")]);
        let modified = SystemTime::now();
        let new = manifest(vec![Entry { modified, ..file("a", "1") }]);
        assert_eq!(old.digest(), new.digest());
        assert_eq!(new.find("a").map(|entry| entry.modified), Some(modified));
    }

    #[test]
    fn counts_files_and_their_bytes_only() {
        let manifest = manifest(vec![directory("d"), file("d/a", "123"), link("d/b", "a"), file("e", "4")]);
        assert_eq!((manifest.file_count(), manifest.total_bytes(), manifest.entries().len()), (2, 4, 4));
    }

    #[test]
    fn a_directory_stands_directly_before_what_is_in_it() {
        // As plain strings these would be in another order, because `-` comes before `/`.
        let found = manifest(vec![directory("a"), file("a-b", ""), directory("a/b"), link("a/b/c", "x")]);
        let paths: Vec<PathBytes> = found.entries().map(|entry| entry.path).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a-b"]);
        assert_eq!(found.entries().len(), 4);
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn names_that_are_out_of_order_are_a_defect() {
        let _ = manifest(vec![file("b", ""), file("a", "")]);
    }

    #[test]
    fn entries_are_found_by_path_and_names_by_directory() {
        let entries =
            vec![directory("a"), file("a/b", "1"), directory("a/c"), link("a/c/d", "x"), file("e", "")];
        let found = manifest(entries.clone());
        for entry in &entries {
            assert_eq!(found.find(&entry.path).as_ref(), Some(entry));
        }
        assert!(found.entries().eq(entries));
        for missing in ["", "b", "a/", "a/b/c", "a/c/d/e", "/a", "c"] {
            assert_eq!(found.find(missing), None, "{missing}");
        }
        let names = |directory: &str| found.names_in(directory.as_bytes()).collect::<Vec<_>>();
        assert_eq!(names(""), [b"a", b"e"]);
        assert_eq!((names("a"), names("a/c")), (vec![&b"b"[..], b"c"], vec![&b"d"[..]]));
        assert!(names("a/b").is_empty() && names("x").is_empty());
    }

    #[test]
    fn what_is_not_utf8_counts_byte_by_byte_and_is_found() {
        let not_text = |path: &[u8]| Entry { path: path.into(), ..file("", "1") };
        let manifests = [
            vec![not_text(b"caf\xe8")],
            vec![not_text(b"caf\xe9")],
            vec![file("caf\u{fffd}", "1")],
            vec![directory("d"), not_text(b"d/\xff")],
            vec![entry("l", LINK, EntryKind::Symlink { target: PathBytes::from(&b"\xff"[..]) })],
        ]
        .map(manifest);
        for (index, manifest) in manifests.iter().enumerate() {
            let earlier = manifests[..index].iter().position(|earlier| earlier.digest() == manifest.digest());
            assert_eq!(earlier, None, "{index} is not unique");
        }
        let first = manifests.map(|manifest| manifest.first_not_utf8().map(|path| path.as_bytes().to_vec()));
        let expected = [Some(&b"caf\xe8"[..]), Some(b"caf\xe9"), None, Some(b"d/\xff"), Some(b"l")];
        assert_eq!(first, expected.map(|path| path.map(<[u8]>::to_vec)));
    }

    /// Versions of images are made of it, so it stays what it is.
    #[test]
    fn the_digest_of_text_stays_what_it_was() {
        let found = manifest(vec![
            directory("a"),
            file("a/é", "1"),
            Entry { mode: EXECUTABLE, ..file("b", "2") },
            link("c", "a/é"),
            Entry { mode: 0o600, ..file("d", "") },
        ]);
        assert_eq!(found.digest().hex(), "65443cc0a639c317cc6f333de5f18935e780d7e416c93ac31ad6afa8153678e0");
    }
}
