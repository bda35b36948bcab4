//! Finds what is wanted, directory by directory, on several threads.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::digest_cache::{Clock, Directory, Item, Known, Session, Stamp};
use super::super::manifest::{Content, EXECUTABLE, Folder, FolderBuilder, LINK};
use super::super::select::{Choice, GitIgnore, Selection, Verdict};
use super::super::{Attributes, Cancelled, ContextError, FileKind, Listed, OpenDirectory, PathBytes};
use super::left_out::{Leaving, LeftOut};
use super::system::{file_mode, is_gone, special_kind};
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
/// is in it. Returns also what is left out.
pub(super) fn walk<'a>(
    root: &OpenDirectory,
    selection: &'a Selection,
    ignored: GitIgnore<'a>,
    session: &Session,
    cancelled: Cancelled<'_>,
) -> Result<(Vec<Walked>, Option<LeftOut>), ContextError> {
    let unreadable = |reason| ContextError::RootUnreadable { path: root.path().to_owned(), reason };
    let attributes = session.is_used().then(|| root.own_attributes()).transpose().map_err(unreadable)?;
    let place = attributes
        .and_then(|attributes| Stamp::of(&attributes))
        .map(|stamp| Place { directory: (stamp.device, stamp.inode), clock: Clock::of(root) });
    let first = Job {
        number: 0,
        name: Vec::new(),
        is_searched: false,
        is_excluded: false,
        choice: selection.top(),
        ignored,
        place: place.unwrap_or_default(),
    };
    let walk = Walk {
        root,
        selection,
        session,
        cancelled,
        device: first.place.directory.0,
        numbers: AtomicUsize::new(1),
        found: Mutex::default(),
        leaving: Leaving::default(),
        failure: Failure::default(),
    };
    let stack = Stack::new(first);
    threads::all(|| stack.work_off(|job| walk.directory(job)));
    walk.failure.result()?;
    let mut all = walk.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    remove_empty(&mut all);
    Ok((all, walk.leaving.result()))
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

/// A directory to be walked through.
#[derive(Debug)]
struct Job<'a> {
    /// That of its folder.
    number: usize,
    /// Its path in the context.
    name: Vec<u8>,
    /// Whether it is not wanted for itself, but for something that may be in it.
    is_searched: bool,
    /// Whether ignore rules drop it, but for their exceptions.
    is_excluded: bool,
    choice: Choice<'a>,
    ignored: GitIgnore<'a>,
    place: Place,
}

struct Walk<'w> {
    root: &'w OpenDirectory,
    selection: &'w Selection,
    session: &'w Session,
    cancelled: Cancelled<'w>,
    /// That of the context directory.
    device: u64,
    /// The number of the next folder.
    numbers: AtomicUsize,
    /// By number.
    found: Mutex<Vec<Walked>>,
    leaving: Leaving,
    failure: Failure,
}

/// Where a walk is within a directory.
struct Here<'a, 'p> {
    job: Job<'a>,
    open: OpenDirectory,
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
        if self.failure.is_before(&job.name) {
            return Vec::new();
        }
        let listed = self.open(&job).and_then(|(open, entries)| {
            let has_name =
                |wanted: &OsStr| entries.iter().any(|entry| entry.name.eq_ignore_ascii_case(wanted));
            let ignored = job.ignored.enter(open.path(), has_name)?;
            Ok((open, entries, ignored))
        });
        let (open, entries, ignored) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                self.failure.record(&job.name, error);
                return Vec::new();
            }
        };
        let prefix = if job.name.is_empty() { Vec::new() } else { [&job.name[..], b"/"].concat() };
        let mut here = Here {
            known: self.session.known(job.place.directory),
            folder: FolderBuilder::new(&prefix),
            searched: Vec::new(),
            jobs: Vec::new(),
            cached: Vec::new(),
            has_unknown: false,
            job,
            open,
            ignored,
        };
        let mut name = prefix.clone();
        for entry in &entries {
            if (self.cancelled)() {
                self.failure.cancel();
                break;
            }
            name.truncate(prefix.len());
            name.extend_from_slice(entry.name.as_encoded_bytes());
            if let Err(error) = self.entry(&mut here, entry, &name) {
                self.failure.record(&name, error);
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

    /// Opens and lists a directory.
    fn open(&self, job: &Job<'_>) -> Result<(OpenDirectory, Vec<Listed>), ContextError> {
        let path = PathBytes::from(&job.name[..]);
        let open = || {
            let open = self.root.directory(path.as_path()?)?;
            let listed = open.list()?;
            Ok((open, listed))
        };
        open().or_else(|error: io::Error| match error.kind() {
            // Nobody asked for what is in there; it would only have been searched for exceptions.
            io::ErrorKind::PermissionDenied if job.is_excluded => Ok((self.root.clone(), Vec::new())),
            // It is not wanted for itself, and nothing is in it any more.
            _ if job.is_searched && is_gone(&error) => Ok((self.root.clone(), Vec::new())),
            _ if job.name.is_empty() => {
                Err(ContextError::RootUnreadable { path: self.root.path().to_owned(), reason: error })
            }
            _ => Err(ContextError::reading(path, error)),
        })
    }

    fn entry(&self, here: &mut Here<'_, '_>, entry: &Listed, name: &[u8]) -> Result<(), ContextError> {
        let kind = match here.open.kind(entry) {
            Ok(kind) => kind,
            // Some file systems do not list what an entry is, and this one is gone. Whatever it was, nobody misses it.
            Err(error) if is_gone(&error) && self.is_dropped_in_any_case(here, entry, name) => return Ok(()),
            Err(error) => return Err(ContextError::reading(name, error)),
        };
        let is_directory = kind == FileKind::Directory;
        let (verdict, is_excluded) = self.judge(here, entry, name, is_directory);
        match verdict {
            Verdict::Drop => {
                here.keep_cached(entry);
                Ok(())
            }
            // Elsewhere than on Unix, there are no bytes to send.
            _ if cfg!(not(unix)) && entry.name.to_str().is_none() => {
                Err(ContextError::NameNotUtf8(PathBytes::from(name).to_string()))
            }
            Verdict::Search => {
                let position = here.folder.len();
                self.found_directory(here, entry, name, Some(is_excluded))?;
                if here.folder.len() > position {
                    here.searched.push(u32::try_from(position).expect("fewer names than 4 GiB hold"));
                }
                Ok(())
            }
            Verdict::Keep if is_directory => self.found_directory(here, entry, name, None),
            Verdict::Keep => self.found(here, entry, kind, name),
        }
    }

    /// Decides about an entry. Tells also whether ignore rules drop it, but for their exceptions.
    fn judge(&self, here: &Here<'_, '_>, entry: &Listed, name: &[u8], is_directory: bool) -> (Verdict, bool) {
        let wanted = self.selection.wanted.verdict(name, is_directory);
        let is_ignored = || {
            here.ignored.is_any() && here.ignored.ignores(&here.open.path().join(&entry.name), is_directory)
        };
        if wanted == Verdict::Drop || is_ignored() {
            return (Verdict::Drop, true);
        }
        let allowed = here.job.choice.judge(name, is_directory);
        (allowed.and(wanted), allowed != Verdict::Keep)
    }

    fn is_dropped_in_any_case(&self, here: &Here<'_, '_>, entry: &Listed, name: &[u8]) -> bool {
        [true, false].into_iter().all(|is| self.judge(here, entry, name, is).0 == Verdict::Drop)
    }

    /// Takes a directory: for itself, or, if it is `searched`, for what may be in it; then this says whether ignore rules
    /// drop it.
    fn found_directory(
        &self,
        here: &mut Here<'_, '_>,
        entry: &Listed,
        name: &[u8],
        searched: Option<bool>,
    ) -> Result<(), ContextError> {
        let reading = |error| ContextError::reading(name, error);
        let attributes = match here.attributes(entry) {
            // Then there is nothing in it.
            Err(error) if searched.is_some() && is_gone(&error) => return Ok(()),
            attributes => attributes.map_err(reading)?,
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut place = here.job.place;
        if let Some(stamp) = Stamp::of(&attributes).filter(|_| self.session.is_used()) {
            self.saw(&stamp);
            if stamp.device != place.directory.0 {
                let open = here.open.directory(Path::new(&entry.name));
                place.clock = open.map_or(Clock::Theirs, |open| Clock::of(&open));
            }
            place.directory = (stamp.device, stamp.inode);
        }
        let mode = if self.selection.preserves_permissions { attributes.mode } else { EXECUTABLE };
        here.folder.add_directory(here.last_part(name), mode, attributes.modified, number);
        here.jobs.push(Job {
            number,
            name: name.to_vec(),
            is_searched: searched.is_some(),
            is_excluded: searched == Some(true),
            choice: here.job.choice.enter(name),
            ignored: here.ignored.clone(),
            place,
        });
        Ok(())
    }

    /// Takes what is kept and not a directory.
    fn found(
        &self,
        here: &mut Here<'_, '_>,
        entry: &Listed,
        kind: FileKind,
        name: &[u8],
    ) -> Result<(), ContextError> {
        let reading = |error| ContextError::reading(name, error);
        if kind == FileKind::Link {
            let target = here.open.read_link(Path::new(&entry.name)).map_err(reading)?;
            let modified = here.attributes(entry).map_err(reading)?.modified;
            let Some(target) = PathBytes::from_os(target.as_os_str()) else {
                return Err(ContextError::TargetNotUtf8(name.into()));
            };
            here.folder.add_link(here.last_part(name), LINK, modified, target.as_bytes());
        } else if kind == FileKind::File {
            let is_looked_at = here.is_anything_known() || self.learns_from(here.job.place);
            let looked_at = is_looked_at.then(|| here.attributes(entry)).transpose().map_err(reading)?;
            let known = looked_at.filter(|seen| seen.kind == FileKind::File).and_then(|attributes| {
                let stamp = Stamp::of(&attributes)?;
                self.saw(&stamp);
                here.known.digest(&stamp).map(|digest| (attributes, Item { stamp, digest }))
            });
            if let Some((attributes, item)) = known {
                here.cached.push(item);
                let content = Content {
                    mode: file_mode(&attributes, self.selection),
                    modified: attributes.modified,
                    size: attributes.size,
                    digest: item.digest,
                };
                here.folder.add_file(here.last_part(name), &content);
            } else {
                here.has_unknown = true;
                here.folder.add_unread(here.last_part(name));
            }
        } else {
            let kind = special_kind(kind);
            if !matches!(kind, "socket" | "FIFO") {
                return Err(ContextError::Special { path: name.into(), kind });
            }
            self.leaving.out(name.into(), kind);
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

    /// Updates the cache with what has not changed in the directory.
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

impl Here<'_, '_> {
    /// Returns the last part of the path `name`, which is in this directory.
    fn last_part<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        &name[self.folder.prefix().len()..]
    }

    /// Whether files need to be looked at to see if they are known.
    fn is_anything_known(&self) -> bool {
        !self.known.items().is_empty()
    }

    /// Keeps in the cache what is not looked at this time, but may be by another selection.
    fn keep_cached(&mut self, entry: &Listed) {
        self.cached.extend(self.known.of_inode(entry.inode));
    }

    fn attributes(&self, entry: &Listed) -> io::Result<Attributes> {
        self.open.attributes(Path::new(&entry.name))
    }
}
