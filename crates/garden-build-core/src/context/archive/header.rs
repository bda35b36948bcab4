// Why: docs/decisions/18-archives-have-one-time.md

use std::borrow::Cow;

use tar::{EntryType, Header};

use crate::context::{Entry, EntryKind};

/// What a header, and the content's padding, is a multiple of.
pub(super) const BLOCK: usize = 512;

/// What the name and link fields of a header hold.
const FIELD: usize = 100;

/// The first size that the octal size field cannot hold: 8 GiB.
const LARGE: u64 = 1 << 33;

/// 1980-01-01 in seconds since 1970, as every entry's modification time. Not zero, which some tools take for "unknown",
/// and not before 1980, which zip archives made during the build could not hold.
pub const MODIFIED: u64 = 315_532_800;

/// What stands before an entry's content in an archive. User, group and time are the same in each.
#[derive(Clone, Debug)]
pub struct TarHeader<'a> {
    entry_type: EntryType,
    /// The entry's path; a directory's ends with a slash.
    pub path: Cow<'a, [u8]>,
    /// What a symbolic link leads to; otherwise empty.
    pub target: &'a [u8],
    /// The permissions.
    pub mode: u32,
    /// How many bytes of content follow, without the [`padding`].
    pub size: u64,
}

impl<'a> TarHeader<'a> {
    /// Makes the header of an entry of a context.
    pub fn of(entry: &'a Entry) -> Self {
        let (path, mode) = (entry.path.as_bytes(), entry.mode);
        match &entry.kind {
            EntryKind::Directory => Self {
                entry_type: EntryType::Directory,
                path: [path, b"/"].concat().into(),
                target: b"",
                mode,
                size: 0,
            },
            EntryKind::Symlink { target } => Self {
                entry_type: EntryType::Symlink,
                path: path.into(),
                target: target.as_bytes(),
                mode,
                size: 0,
            },
            EntryKind::File { size, .. } => Self { mode, ..Self::of_file(path, *size) },
        }
    }

    /// Makes the header of an ordinary file that may not be executed.
    pub fn of_file(path: &'a (impl AsRef<[u8]> + ?Sized), size: u64) -> Self {
        let path = path.as_ref().into();
        Self { entry_type: EntryType::Regular, path, target: b"", mode: 0o644, size }
    }

    /// Returns what the header says of the entry's type (`typeflag` of POSIX's ustar format): `0` for an ordinary
    /// file, `2` for a symbolic link, `5` for a directory.
    pub fn type_flag(&self) -> u8 {
        self.entry_type.as_byte()
    }

    /// Appends the header's blocks to `archive`: one, or more if something needs a PAX record.
    ///
    /// PAX wants records to be UTF-8, but where a name is not, there is no way to say so that all readers know. Go,
    /// with which all builders read archives, takes the bytes of a record as they are, and writes them so itself
    /// (`validPAXRecord` in `archive/tar/strconv.go`); GNU tar takes them if it cannot convert them.
    pub fn append_to(&self, archive: &mut Vec<u8>) {
        let mut records = Vec::new();
        if !fits(&self.path) {
            record(&mut records, "path", &self.path);
        }
        if !fits(self.target) {
            record(&mut records, "linkpath", self.target);
        }
        if self.size >= LARGE {
            // The field holds it, too, in the binary form that busybox knows and PAX does not.
            record(&mut records, "size", self.size.to_string().as_bytes());
        }
        if !records.is_empty() {
            let size = records.len() as u64;
            let header = Self { entry_type: EntryType::XHeader, ..Self::of_file("PaxHeaders.0/entry", size) };
            header.append_block(archive);
            archive.extend_from_slice(&records);
            archive.extend_from_slice(padding(size));
        }
        self.append_block(archive);
    }

    fn append_block(&self, archive: &mut Vec<u8>) {
        let mut header = Header::new_ustar();
        put(&mut header.as_old_mut().name, &self.path);
        put(&mut header.as_old_mut().linkname, self.target);
        header.set_entry_type(self.entry_type);
        header.set_mode(self.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(MODIFIED);
        header.set_size(self.size);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
    }
}

/// Returns the zeros that follow a content of `size` bytes, so that the next header begins at a multiple of 512.
pub fn padding(size: u64) -> &'static [u8] {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    &[0; BLOCK][..(BLOCK - used) % BLOCK]
}

fn fits(name: &[u8]) -> bool {
    name.len() <= FIELD && name.is_ascii()
}

/// Fills a header field; if a record replaces it, with something that resembles the name.
fn put(field: &mut [u8; FIELD], name: &[u8]) {
    let ascii = name.utf8_chunks().flat_map(|chunk| {
        let characters = chunk.valid().chars();
        let characters = characters.map(|character| u8::try_from(character).ok().filter(u8::is_ascii));
        characters.chain(chunk.invalid().iter().map(|_| None))
    });
    for (place, byte) in field.iter_mut().zip(ascii) {
        *place = byte.unwrap_or(b'_');
    }
}

/// Appends a PAX record, whose length counts its own digits.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = [&b" "[..], key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.extend_from_slice(&rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_beyond_the_octal_field_is_a_record_and_in_the_field() {
        let mut bytes = Vec::new();
        TarHeader::of_file("large", LARGE + 7).append_to(&mut bytes);
        assert!(String::from_utf8_lossy(&bytes[BLOCK..2 * BLOCK]).starts_with("19 size=8589934599\n"));
        let header = Header::from_byte_slice(&bytes[2 * BLOCK..]);
        assert_eq!(header.entry_size().expect("size"), LARGE + 7);
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        for (length, expected) in [(1, "9 path=x\n".len()), (90, 99), (91, 101), (92, 102)] {
            let mut records = Vec::new();
            record(&mut records, "path", "x".repeat(length).as_bytes());
            assert_eq!(records.len(), expected, "{length}");
            assert!(records.starts_with(format!("{expected} ").as_bytes()));
        }
    }
}
