//! How a manifest is stored: 56 bytes and its name for each entry, directory by directory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Entry, EntryKind};
use crate::Digest;

/// The type of an entry, in the bits of its mode where Unix has it. A file without them is still to be digested.
const TYPE: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;
const FILE: u16 = 0o100_000;
const LINK: u16 = 0o120_000;

/// What is directly in one directory, in the order of the names.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Folder {
    /// The directory's path and a slash; nothing for the context itself.
    pub(in super::super) prefix: Box<[u8]>,
    /// The names; that of a link is followed by its target.
    text: Box<[u8]>,
    records: Box<[Record]>,
}

/// A folder that is being filled.
#[derive(Debug)]
pub(in super::super) struct FolderBuilder<'p> {
    prefix: &'p [u8],
    text: Vec<u8>,
    records: Vec<Record>,
}

/// One entry of a [`Folder`].
#[derive(Clone, Debug)]
pub(in super::super) struct Record {
    /// Where the name stands in the folder's text, and its length.
    start: u32,
    length: u16,
    /// Type and permissions.
    mode: u16,
    /// In nanoseconds since 1970.
    modified: i64,
    /// A file's size, the length of a link's target, or the number of a directory's own folder.
    value: u64,
    digest: [u8; 32],
}

/// What a record of a file says, once the file has been read.
#[derive(Debug)]
pub(in super::super) struct Content {
    pub(in super::super) mode: u32,
    pub(in super::super) modified: SystemTime,
    pub(in super::super) size: u64,
    pub(in super::super) digest: Digest,
}

impl<'p> FolderBuilder<'p> {
    /// Starts the folder of the directory at `prefix`, which ends in a slash or is empty.
    pub(in super::super) fn new(prefix: &'p [u8]) -> Self {
        Self { prefix, text: Vec::new(), records: Vec::new() }
    }

    pub(in super::super) fn prefix(&self) -> &'p [u8] {
        self.prefix
    }

    pub(in super::super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(in super::super) fn build(self) -> Folder {
        let (prefix, text) = (self.prefix.into(), self.text.into_boxed_slice());
        Folder { prefix, text, records: self.records.into_boxed_slice() }
    }

    /// Adds a directory, whose entries are in the folder with the number `folder`.
    pub(in super::super) fn add_directory(
        &mut self,
        name: &[u8],
        mode: u32,
        modified: SystemTime,
        folder: usize,
    ) {
        self.add(name, DIRECTORY, mode, modified, folder as u64);
    }

    pub(in super::super) fn add_link(&mut self, name: &[u8], mode: u32, modified: SystemTime, target: &[u8]) {
        self.add(name, LINK, mode, modified, target.len() as u64);
        self.text.extend_from_slice(target);
    }

    /// Adds a file that is to be looked at and digested.
    pub(in super::super) fn add_unread(&mut self, name: &[u8]) {
        self.add(name, 0, 0, UNIX_EPOCH, 0);
    }

    pub(in super::super) fn add_file(&mut self, name: &[u8], content: &Content) {
        self.add_unread(name);
        if let Some(record) = self.records.last_mut() {
            record.set(content);
        }
    }

    fn add(&mut self, name: &[u8], kind: u16, mode: u32, modified: SystemTime, value: u64) {
        let start = u32::try_from(self.text.len()).expect("a directory with less than 4 GiB of names");
        let length = u16::try_from(name.len()).expect("a name shorter than 64 KiB");
        let (mode, modified) = (kind | permissions(mode), nanoseconds(modified));
        self.text.extend_from_slice(name);
        self.records.push(Record { start, length, mode, modified, value, digest: [0; 32] });
    }
}

impl Folder {
    pub(in super::super) fn remove(&mut self, position: usize) {
        let mut records = std::mem::take(&mut self.records).into_vec();
        records.remove(position);
        self.records = records.into_boxed_slice();
    }

    pub(in super::super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns the prefix, the text, and the records in pieces of at most `length`.
    pub(in super::super) fn pieces(
        &mut self,
        length: usize,
    ) -> impl Iterator<Item = (&[u8], &[u8], &mut [Record])> {
        let Self { prefix, text, records } = self;
        let (prefix, text) = (&**prefix, &**text);
        records.chunks_mut(length).map(move |piece| (prefix, text, piece))
    }

    pub(in super::super) fn record_mut(&mut self, position: usize) -> Option<&mut Record> {
        self.records.get_mut(position)
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn get(&self, position: usize) -> Option<&Record> {
        self.records.get(position)
    }

    /// Returns the record called `name`.
    pub(super) fn find(&self, name: &[u8]) -> Option<&Record> {
        let found = self.records.binary_search_by(|record| record.name(&self.text).cmp(name));
        found.ok().map(|position| &self.records[position])
    }

    pub(super) fn entry(&self, record: &Record) -> Entry {
        let path = [&*self.prefix, record.name(&self.text)].concat().into();
        let kind = match record.mode & TYPE {
            DIRECTORY => EntryKind::Directory,
            LINK => EntryKind::Symlink { target: record.target(&self.text).into() },
            _ => EntryKind::File { size: record.value, digest: Digest::from_sha256(record.digest) },
        };
        Entry { path, mode: record.permissions(), kind, modified: record.modified() }
    }
}

impl Record {
    pub(in super::super) fn name<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let start = self.start as usize;
        &text[start..start + usize::from(self.length)]
    }

    /// Where a link points; nothing for anything else.
    pub(super) fn target<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        if self.mode & TYPE != LINK {
            return &[];
        }
        let start = self.start as usize + usize::from(self.length);
        let length = usize::try_from(self.value).unwrap_or_default();
        &text[start..start + length]
    }

    /// Whether it is a file that is still to be digested.
    pub(in super::super) fn is_unread(&self) -> bool {
        self.mode & TYPE == 0
    }

    pub(in super::super) fn set(&mut self, content: &Content) {
        self.mode = FILE | permissions(content.mode);
        self.modified = nanoseconds(content.modified);
        self.value = content.size;
        self.digest = *content.digest.as_bytes();
    }

    /// The number of the folder with what is in this directory, if it is one.
    pub(in super::super) fn folder(&self) -> Option<usize> {
        let is_directory = self.mode & TYPE == DIRECTORY;
        is_directory.then(|| usize::try_from(self.value).unwrap_or_default())
    }

    /// A file's size and digest.
    pub(super) fn file(&self) -> Option<(u64, &[u8; 32])> {
        (self.mode & TYPE == FILE).then_some((self.value, &self.digest))
    }

    pub(super) fn permissions(&self) -> u32 {
        u32::from(self.mode & !TYPE)
    }

    pub(in super::super) fn modified(&self) -> SystemTime {
        let distance = Duration::from_nanos(self.modified.unsigned_abs());
        if self.modified < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode).unwrap_or(u16::MAX) & !TYPE
}

/// The nanoseconds from 1970 to `time`; what is more than 292 years away is as far as that.
fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |before| -before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_56_bytes_and_its_name() {
        assert_eq!(size_of::<Record>(), 56);
    }

    #[test]
    fn times_come_back_even_from_before_1970() {
        for time in [UNIX_EPOCH, UNIX_EPOCH - Duration::from_nanos(7), UNIX_EPOCH + Duration::new(9, 1)] {
            let mut folder = FolderBuilder::new(b"");
            folder.add_link(b"a", 0o777, time, b"b");
            let folder = folder.build();
            assert_eq!(folder.entry(&folder.records[0]).modified, time);
        }
        let far = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 10);
        assert_eq!(nanoseconds(far), i64::MAX);
    }
}
