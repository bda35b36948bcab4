//! Finds what is wanted, directory by directory, on several threads.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::digest_cache::{Clock, Directory, Item, Known, Session, Stamp};
use super::super::manifest::{Content, EXECUTABLE, Folder, FolderBuilder, LINK, ORDINARY};
use super::super::select::{Choice, GitIgnore, Selection, Verdict};
use super::super::{Cancelled, ContextError};
use super::threads::{self, Failure, Stack, lock};

/// What was found in one directory. Files whose digests are not known are still to be read.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) folder: Folder,
    pub(super) place: Place,
    /// The positions of directories that are in the result only if something in them is.
    searched: Box<[u32]>,
}

/// What the cache has to know of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) directory: Directory,
    pub(super) clock: Clock,
}

impl Default for Place {
    fn default() -> Self {
        Self { directory: (0, 0), clock: Clock::Theirs }
    }
}

/// Walks through `root`. The folder of the context itself comes first, and each directory's before those of what
/// is in it.
pub(super) fn walk<'a>(
    root: &'a Path,
    selection: &'a Selection,
    ignored: GitIgnore<'a>,
    session: &Session,
    cancelled: Cancelled<'_>,
) -> Result<Vec<Walked>, ContextError> {
    let unreadable = |reason| ContextError::RootUnreadable { path: root.to_owned(), reason };
    let place = session.is_used().then(|| fs::metadata(root)).transpose().map_err(unreadable)?;
    let place = place
        .and_then(|metadata| Stamp::of(&metadata))
        .map(|stamp| Place { directory: (stamp.device, stamp.inode), clock: Clock::of(root) });
    let first = Job {
        number: 0,
        name: Name { text: String::new(), is_utf8: true },
        real: root.to_owned(),
        is_searched: false,
        choice: selection.top(),
        ignored,
        place: place.unwrap_or_default(),
    };
    let walk = Walk {
        selection,
        session,
        cancelled,
        device: first.place.directory.0,
        numbers: AtomicUsize::new(1),
        found: Mutex::default(),
        failure: Failure::default(),
    };
    let stack = Stack::new(first);
    threads::all(|| stack.work_off(|job| walk.directory(job)));
    walk.failure.result()?;
    let mut all = walk.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    remove_empty(&mut all);
    Ok(all)
}

/// Removes directories that were only searched, and in vain. Those in a directory come after it.
fn remove_empty(all: &mut [Walked]) {
    for number in (0..all.len()).rev() {
        for position in std::mem::take(&mut all[number].searched).iter().rev() {
            let position = *position as usize;
            let below = all[number].folder.records()[position].folder();
            if below.is_some_and(|below| all[below].folder.records().is_empty()) {
                all[number].folder.remove(position);
            }
        }
    }
}

/// A path relative to the context.
#[derive(Clone, Debug)]
struct Name {
    /// The path; each byte that is not part of UTF-8 is U+FFFD, as Go's regular expressions see it.
    text: String,
    is_utf8: bool,
}

impl Name {
    /// Makes `self` the path of `name` in the directory at `prefix`.
    fn set(&mut self, prefix: &str, parent_is_utf8: bool, name: &OsStr) {
        self.text.clear();
        self.text.push_str(prefix);
        self.is_utf8 = parent_is_utf8;
        for chunk in name.as_encoded_bytes().utf8_chunks() {
            self.text.push_str(chunk.valid());
            self.text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            self.is_utf8 &= chunk.invalid().is_empty();
        }
    }
}

/// A directory to be walked through.
#[derive(Debug)]
struct Job<'a> {
    /// That of its folder.
    number: usize,
    name: Name,
    real: PathBuf,
    /// Whether it is not wanted for itself.
    is_searched: bool,
    choice: Choice<'a>,
    ignored: GitIgnore<'a>,
    place: Place,
}

struct Walk<'w> {
    selection: &'w Selection,
    session: &'w Session,
    cancelled: Cancelled<'w>,
    /// That of the context directory.
    device: u64,
    /// The number of the next folder.
    numbers: AtomicUsize,
    /// By number.
    found: Mutex<Vec<Walked>>,
    failure: Failure,
}

/// Where a walk is within a directory.
struct Here<'a, 'p> {
    job: Job<'a>,
    ignored: GitIgnore<'a>,
    known: Known,
    folder: FolderBuilder<'p>,
    searched: Vec<u32>,
    jobs: Vec<Job<'a>>,
    /// What stays in the cache, and whether that is less than there was or something is new.
    cached: Vec<Item>,
    has_unknown: bool,
}

impl Walk<'_> {
    /// Finds what is directly in a directory, and the directories in it that are to be walked through.
    fn directory<'a>(&self, job: Job<'a>) -> Vec<Job<'a>> {
        if self.failure.is_before(&job.name.text) {
            return Vec::new();
        }
        let listed = sorted_entries(&job).and_then(|entries| {
            let has_name = |wanted: &OsStr| entries.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
            let ignored = job.ignored.enter(&job.real, has_name)?;
            Ok((entries, ignored))
        });
        let (entries, ignored) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                self.failure.record(&job.name.text, error);
                return Vec::new();
            }
        };
        let prefix = if job.name.text.is_empty() { String::new() } else { format!("{}/", job.name.text) };
        let mut here = Here {
            known: self.session.known(job.place.directory),
            folder: FolderBuilder::new(&prefix),
            searched: Vec::new(),
            jobs: Vec::new(),
            cached: Vec::new(),
            has_unknown: false,
            job,
            ignored,
        };
        let mut name = Name { text: String::new(), is_utf8: true };
        for (file_name, entry) in &entries {
            if (self.cancelled)() {
                self.failure.cancel();
                break;
            }
            name.set(&prefix, here.job.name.is_utf8, file_name);
            if let Err(error) = self.entry(&mut here, entry, &name) {
                self.failure.record(&name.text, error);
                break;
            }
        }
        if self.session.is_used() {
            self.update_cache(&mut here);
        }
        let Here { job: Job { number, place, .. }, folder, searched, jobs, .. } = here;
        let walked = Walked { folder: folder.build(), place, searched: searched.into() };
        let mut found = lock(&self.found);
        if found.len() <= number {
            found.resize_with(number + 1, Walked::default);
        }
        found[number] = walked;
        jobs
    }

    fn entry(&self, here: &mut Here<'_, '_>, entry: &DirEntry, name: &Name) -> Result<(), ContextError> {
        let file_type = entry.file_type().map_err(|error| ContextError::reading(&name.text, error))?;
        let is_directory = file_type.is_dir();
        let wanted = self.selection.wanted.verdict(&name.text, is_directory);
        let is_ignored = || here.ignored.is_any() && here.ignored.ignores(&entry.path(), is_directory);
        let verdict = if wanted == Verdict::Drop || is_ignored() {
            Verdict::Drop
        } else {
            here.job.choice.judge(&name.text, is_directory)
        };
        match verdict.and(wanted) {
            Verdict::Drop => {
                here.keep_cached(entry);
                Ok(())
            }
            Verdict::Search => {
                here.searched.push(u32::try_from(here.folder.len()).expect("fewer names than 4 GiB hold"));
                self.found_directory(here, entry, name, verdict == Verdict::Search)
            }
            Verdict::Keep if !name.is_utf8 => Err(ContextError::NameNotUtf8(name.text.clone())),
            Verdict::Keep if is_directory => self.found_directory(here, entry, name, false),
            Verdict::Keep => self.found(here, entry, file_type, name),
        }
    }

    fn found_directory(
        &self,
        here: &mut Here<'_, '_>,
        entry: &DirEntry,
        name: &Name,
        is_searched: bool,
    ) -> Result<(), ContextError> {
        let reading = |error| ContextError::reading(&name.text, error);
        let metadata = entry.metadata().map_err(reading)?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let real = entry.path();
        let mut place = here.job.place;
        if let Some(stamp) = Stamp::of(&metadata).filter(|_| self.session.is_used()) {
            self.saw(&stamp);
            if stamp.device != place.directory.0 {
                place.clock = Clock::of(&real);
            }
            place.directory = (stamp.device, stamp.inode);
        }
        let mode = if self.selection.preserves_permissions { permissions(&metadata) } else { EXECUTABLE };
        let modified = metadata.modified().map_err(reading)?;
        here.folder.add_directory(here.last_part(name), mode, modified, number);
        let (choice, ignored) = (here.job.choice.enter(&name.text), here.ignored.clone());
        here.jobs.push(Job { number, name: name.clone(), real, is_searched, choice, ignored, place });
        Ok(())
    }

    /// Takes what is kept and not a directory.
    fn found(
        &self,
        here: &mut Here<'_, '_>,
        entry: &DirEntry,
        file_type: FileType,
        name: &Name,
    ) -> Result<(), ContextError> {
        let reading = |error| ContextError::reading(&name.text, error);
        if file_type.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(reading)?;
            let metadata = entry.metadata().map_err(reading)?;
            let modified = metadata.modified().map_err(reading)?;
            let Some(target) = target.to_str() else {
                return Err(ContextError::TargetNotUtf8(name.text.clone()));
            };
            here.folder.add_link(here.last_part(name), LINK, modified, target);
        } else if file_type.is_file() {
            let is_looked_at = here.is_anything_known() || self.learns_from(here.job.place);
            let metadata = is_looked_at.then(|| entry.metadata()).transpose().map_err(reading)?;
            let known = metadata.filter(Metadata::is_file).and_then(|metadata| {
                let stamp = Stamp::of(&metadata)?;
                self.saw(&stamp);
                here.known.digest(&stamp).map(|digest| (metadata, Item { stamp, digest }))
            });
            if let Some((metadata, item)) = known {
                here.cached.push(item);
                let content = Content {
                    mode: file_mode(&metadata, self.selection),
                    modified: metadata.modified().map_err(reading)?,
                    size: metadata.len(),
                    digest: item.digest,
                };
                here.folder.add_file(here.last_part(name), &content);
            } else {
                here.has_unknown = true;
                here.folder.add_unread(here.last_part(name));
            }
        } else {
            return Err(ContextError::Special { path: name.text.clone(), kind: special_kind(file_type) });
        }
        Ok(())
    }

    /// Whether the times of files in this place tell what time it is there.
    fn learns_from(&self, place: Place) -> bool {
        self.session.is_used() && place.clock == Clock::Theirs
    }

    fn saw(&self, stamp: &Stamp) {
        if stamp.device == self.device {
            self.session.saw_change(stamp.changed);
        }
    }

    /// Tells the cache what of the directory is still as it was.
    fn update_cache(&self, here: &mut Here<'_, '_>) {
        let directory = here.job.place.directory;
        let mut cached = std::mem::take(&mut here.cached);
        // Several names may be those of one file.
        cached.sort_by_key(|item| (item.stamp.inode, item.stamp.device));
        cached.dedup();
        if here.has_unknown || cached.len() < here.known.items().len() {
            self.session.replace(directory, cached);
        } else {
            self.session.keep(directory);
        }
    }
}

/// Lists a directory in the order of the names' bytes.
fn sorted_entries(job: &Job<'_>) -> Result<Vec<(OsString, DirEntry)>, ContextError> {
    let list = || {
        let named = |entry: io::Result<DirEntry>| entry.map(|entry| (entry.file_name(), entry));
        fs::read_dir(&job.real)?.map(named).collect::<io::Result<Vec<_>>>()
    };
    match list() {
        Ok(mut entries) => {
            entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            Ok(entries)
        }
        // Nobody asked for what is in there; it would only have been searched for exceptions.
        Err(error) if job.is_searched && error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
        Err(error) if job.name.text.is_empty() => {
            Err(ContextError::RootUnreadable { path: job.real.clone(), reason: error })
        }
        Err(error) => Err(ContextError::reading(&job.name.text, error)),
    }
}

impl Here<'_, '_> {
    /// Returns the last part of the path `name`, which is in this directory.
    fn last_part<'n>(&self, name: &'n Name) -> &'n str {
        &name.text[self.folder.prefix().len()..]
    }

    /// Whether files need to be looked at to see if they are known.
    fn is_anything_known(&self) -> bool {
        !self.known.items().is_empty()
    }

    /// Keeps in the cache what is not looked at this time, but may be by another selection.
    #[cfg(unix)]
    fn keep_cached(&mut self, entry: &DirEntry) {
        use std::os::unix::fs::DirEntryExt as _;
        self.cached.extend(self.known.of_inode(entry.ino()));
    }

    #[cfg(not(unix))]
    fn keep_cached(&mut self, _: &DirEntry) {}
}

/// The mode of a file in the manifest.
pub(super) fn file_mode(metadata: &Metadata, selection: &Selection) -> u32 {
    let mode = permissions(metadata);
    match selection.preserves_permissions {
        true => mode,
        false if mode & 0o100 != 0 => EXECUTABLE,
        false => ORDINARY,
    }
}

#[cfg(unix)]
fn permissions(metadata: &Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

/// Windows has no such permissions. `BuildKit` sends every file as executable from there.
#[cfg(not(unix))]
fn permissions(_: &Metadata) -> u32 {
    EXECUTABLE
}

#[cfg(unix)]
fn special_kind(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
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
