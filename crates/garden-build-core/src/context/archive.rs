use std::io::Write;

use tar::{EntryType, Header};

use super::{Cancelled, CheckedFile, Context, ContextError, EntryKind, scan};

const BLOCK: usize = 512;

/// What the name and link fields of a header hold.
const FIELD: usize = 100;

/// The first size that the octal size field cannot hold: 8 GiB.
const LARGE: u64 = 1 << 33;

/// 1980-01-01 in seconds since 1970, as every entry's modification time. Not zero, which some tools take for "unknown",
/// and not before 1980, which zip archives made during the build could not hold.
pub const MODIFIED: u64 = 315_532_800;

/// Writes a tar archive in which nothing tells when, where or by whom it was made.
///
/// Everything belongs to user and group 0, has the same time, and the permissions of its
/// [`Entry`](super::Entry). Names that are long or not ASCII are written as PAX records, which Go, GNU tar and
/// busybox read alike. No file is ever in memory as a whole.
///
/// An archive that is dropped without [`finish`](Self::finish) stays without its end.
#[derive(Debug)]
pub struct TarStream<W: Write> {
    output: W,
}

impl<W: Write> TarStream<W> {
    /// Writes an archive to `output`.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Returns the output, for example to start the next member of a
    /// [`GzipMembers`](super::GzipMembers).
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Adds every entry of `context`. Calls `progress` with the bytes of file content that have been
    /// written so far, and stops soon after `cancelled` returns `true`.
    ///
    /// # Errors
    /// [`ContextError::Changed`] if a file is not what it was when the context was scanned; then the
    /// archive is of no use, because a part of the file may already be in it.
    pub fn add_context(
        &mut self,
        context: &Context,
        cancelled: Cancelled<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ContextError> {
        let mut buffer = Vec::with_capacity(scan::BUFFER);
        let mut done = 0;
        for entry in context.manifest().entries() {
            if cancelled() {
                return Err(ContextError::Cancelled);
            }
            let (path, mode) = (&entry.path, entry.mode);
            match &entry.kind {
                EntryKind::Directory => {
                    self.header(EntryType::Directory, &format!("{path}/"), "", mode, 0)?;
                }
                EntryKind::Symlink { target } => self.header(EntryType::Symlink, path, target, mode, 0)?,
                EntryKind::File { size, .. } => {
                    self.header(EntryType::Regular, path, "", mode, *size)?;
                    let mut wrote = |length: usize| {
                        done += length as u64;
                        progress(done);
                    };
                    let file = context.tree().open(&entry)?;
                    self.content(file, &mut buffer, cancelled, &mut wrote)?;
                    self.padding(*size)?;
                }
            }
        }
        Ok(())
    }

    /// Adds an ordinary file with the given `contents`. A later entry with the same path replaces an
    /// earlier one when the archive is unpacked.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn add_file(&mut self, path: &str, contents: &[u8]) -> Result<(), ContextError> {
        self.header(EntryType::Regular, path, "", 0o644, contents.len() as u64)?;
        self.padded(contents)
    }

    /// Writes the archive's end and returns the output.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn finish(mut self) -> Result<W, ContextError> {
        self.write(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }

    /// Writes the content of a file, as long as it is the content that was scanned.
    fn content(
        &mut self,
        mut file: CheckedFile,
        buffer: &mut Vec<u8>,
        cancelled: Cancelled<'_>,
        wrote: &mut dyn FnMut(usize),
    ) -> Result<(), ContextError> {
        loop {
            if cancelled() {
                return Err(ContextError::Cancelled);
            }
            buffer.clear();
            let at_end = file.read(buffer, scan::BUFFER)?;
            self.write(buffer)?;
            wrote(buffer.len());
            if at_end {
                return Ok(());
            }
        }
    }

    fn header(
        &mut self,
        entry_type: EntryType,
        path: &str,
        target: &str,
        mode: u32,
        size: u64,
    ) -> Result<(), ContextError> {
        let mut records = Vec::new();
        if !fits(path) {
            record(&mut records, "path", path);
        }
        if !fits(target) {
            record(&mut records, "linkpath", target);
        }
        if size >= LARGE {
            // The field holds it, too, in the binary form that busybox knows and PAX does not.
            record(&mut records, "size", &size.to_string());
        }
        if !records.is_empty() {
            self.block(EntryType::XHeader, "PaxHeaders.0/entry", "", 0o644, records.len() as u64)?;
            self.padded(&records)?;
        }
        self.block(entry_type, path, target, mode, size)
    }

    fn block(
        &mut self,
        entry_type: EntryType,
        path: &str,
        target: &str,
        mode: u32,
        size: u64,
    ) -> Result<(), ContextError> {
        let mut header = Header::new_ustar();
        put(&mut header.as_old_mut().name, path);
        put(&mut header.as_old_mut().linkname, target);
        header.set_entry_type(entry_type);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(MODIFIED);
        header.set_size(size);
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn padded(&mut self, contents: &[u8]) -> Result<(), ContextError> {
        self.write(contents)?;
        self.padding(contents.len() as u64)
    }

    fn padding(&mut self, size: u64) -> Result<(), ContextError> {
        let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        self.write(&[0; BLOCK][..(BLOCK - used) % BLOCK])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ContextError> {
        self.output.write_all(bytes).map_err(ContextError::Write)
    }
}

fn fits(name: &str) -> bool {
    name.len() <= FIELD && name.is_ascii()
}

/// Fills a header field; if a record replaces it, with something that resembles the name.
fn put(field: &mut [u8; FIELD], name: &str) {
    let ascii = name.chars().map(|character| u8::try_from(character).ok().filter(u8::is_ascii));
    for (place, byte) in field.iter_mut().zip(ascii) {
        *place = byte.unwrap_or(b'_');
    }
}

/// Appends a PAX record, whose length counts its own digits.
fn record(records: &mut Vec<u8>, key: &str, value: &str) {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.extend_from_slice(rest.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Read};

    use super::*;
    use crate::BuildRequest;

    fn context(files: &[(&str, &str)]) -> (tempfile::TempDir, Context) {
        let directory = tempfile::tempdir().expect("temporary directory");
        for (path, text) in [&[("Dockerfile", "FROM scratch")], files].concat() {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, text).expect("file");
        }
        let request = BuildRequest::new("test", directory.path());
        let context = Context::scan(&request, &|| false).expect("context");
        (directory, context)
    }

    fn archive(context: &Context) -> Result<Vec<u8>, ContextError> {
        let mut tar = TarStream::new(Vec::new());
        tar.add_context(context, &|| false, &mut |_| {})?;
        tar.finish()
    }

    #[test]
    fn the_same_files_give_the_same_bytes_wherever_and_whenever() {
        let files = [("b/c.txt", "one"), ("b-c", "two"), ("a", "")];
        let (_one, first) = context(&files);
        let (other, second) = context(&files);
        let old = fs::File::options().write(true).open(other.path().join("a")).expect("file");
        old.set_modified(std::time::UNIX_EPOCH).expect("time");
        let first = archive(&first).expect("archive");
        assert!(first == archive(&second).expect("archive"));
        let mut tar = tar::Archive::new(first.as_slice());
        let names: Vec<String> = tar
            .entries()
            .expect("entries")
            .map(|entry| String::from_utf8(entry.expect("entry").path_bytes().into_owned()).expect("UTF-8"))
            .collect();
        assert_eq!(names, ["Dockerfile", "a", "b/", "b/c.txt", "b-c"]);
    }

    #[test]
    fn long_and_foreign_names_and_links_come_back() {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(120));
        let (directory, _) = context(&[(&long, "long"), ("grün/é", "foreign"), (&"x".repeat(100), "fits")]);
        #[cfg(unix)]
        std::os::unix::fs::symlink(&long, directory.path().join("link")).expect("link");
        let context =
            Context::scan(&BuildRequest::new("test", directory.path()), &|| false).expect("context");
        let bytes = archive(&context).expect("archive");
        let mut found = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().expect("entries") {
            let mut entry = entry.expect("entry");
            let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
            let link =
                entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).expect("UTF-8"));
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            found.push((path, link.unwrap_or(text)));
        }
        assert!(found.contains(&(long.clone(), "long".to_owned())), "{found:?}");
        assert!(found.contains(&("grün/é".to_owned(), "foreign".to_owned())), "{found:?}");
        assert!(found.contains(&("x".repeat(100), "fits".to_owned())), "{found:?}");
        assert_eq!(found.contains(&("link".to_owned(), long)), cfg!(unix));
    }

    #[test]
    fn a_file_that_changed_since_the_scan_fails_the_archive_by_name() {
        for text in ["longer than it was", "s", "othr", ""] {
            let (directory, context) = context(&[("src/main.rs", "same")]);
            fs::write(directory.path().join("src/main.rs"), text).expect("file");
            let error = archive(&context).expect_err(text).to_string();
            assert_eq!(error, "`src/main.rs` changed while it was being read; build again");
        }
        let (directory, context) = context(&[("gone", "same")]);
        fs::remove_file(directory.path().join("gone")).expect("removed");
        assert!(matches!(archive(&context), Err(ContextError::Changed(path)) if path == "gone"));
    }

    #[test]
    fn stops_between_chunks_when_cancelled() {
        let (_directory, context) = context(&[("large", &"x".repeat(10 * scan::BUFFER))]);
        let progress = std::cell::Cell::new(0);
        let mut tar = TarStream::new(io::sink());
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let cancelled = || seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 7;
        let error =
            tar.add_context(&context, &cancelled, &mut |done| progress.set(done)).expect_err("cancelled");
        assert!(matches!(error, ContextError::Cancelled));
        assert!(progress.get() > 0 && progress.get() < context.manifest().total_bytes());
    }

    #[test]
    fn progress_ends_with_the_sum_of_all_sizes() {
        let (_directory, context) = context(&[("a", "12345"), ("b", &"x".repeat(300_000))]);
        let mut last = 0;
        let mut tar = TarStream::new(io::sink());
        tar.add_context(&context, &|| false, &mut |done| last = done).expect("archive");
        assert_eq!(last, context.manifest().total_bytes());
    }

    #[test]
    fn a_size_beyond_the_octal_field_is_a_record_and_in_the_field() {
        let mut tar = TarStream::new(Vec::new());
        tar.header(EntryType::Regular, "large", "", 0o644, LARGE + 7).expect("header");
        let bytes = tar.get_mut();
        assert!(String::from_utf8_lossy(&bytes[BLOCK..2 * BLOCK]).starts_with("19 size=8589934599\n"));
        let header = Header::from_byte_slice(&bytes[2 * BLOCK..]);
        assert_eq!(header.entry_size().expect("size"), LARGE + 7);
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        for (length, expected) in [(1, "9 path=x\n".len()), (90, 99), (91, 101), (92, 102)] {
            let mut records = Vec::new();
            record(&mut records, "path", &"x".repeat(length));
            assert_eq!(records.len(), expected, "{length}");
            assert!(records.starts_with(format!("{expected} ").as_bytes()));
        }
    }
}
