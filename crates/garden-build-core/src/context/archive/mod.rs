//! From the entries of a context to bytes: [`TarStream`] writes the archive, [`GzipMembers`] compresses it, and
//! [`byte_stream`] hands it to whoever sends it.

mod gzip;
mod header;
mod stream;

use std::io::Write;

pub use self::gzip::{GZIP_HEADER, GzipMembers};
use self::header::BLOCK;
pub use self::header::{MODIFIED, TarHeader, padding};
pub use self::stream::{ByteStream, ChunkWriter, byte_stream};
use super::read::BUFFER;
use super::{Cancelled, CheckedFile, Context, ContextError, EntryKind};

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
    /// [`GzipMembers`].
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
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut done = 0;
        for entry in context.manifest().entries() {
            if cancelled() {
                return Err(ContextError::Cancelled);
            }
            self.header(&TarHeader::of(&entry))?;
            if let EntryKind::File { size, .. } = entry.kind {
                let mut wrote = |length: usize| {
                    done += length as u64;
                    progress(done);
                };
                let file = context.tree().open(&entry)?;
                self.content(file, &mut buffer, cancelled, &mut wrote)?;
                self.write(padding(size))?;
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
        let size = contents.len() as u64;
        self.header(&TarHeader::of_file(path, size))?;
        self.write(contents)?;
        self.write(padding(size))
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
            let at_end = file.read(buffer, BUFFER)?;
            self.write(buffer)?;
            wrote(buffer.len());
            if at_end {
                return Ok(());
            }
        }
    }

    fn header(&mut self, header: &TarHeader<'_>) -> Result<(), ContextError> {
        let mut blocks = Vec::with_capacity(BLOCK);
        header.append_to(&mut blocks);
        self.write(&blocks)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ContextError> {
        self.output.write_all(bytes).map_err(ContextError::Write)
    }
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
        let error = archive(&context).expect_err("gone");
        assert!(matches!(&error, ContextError::Changed(path) if *path == "gone"), "{error}");
        let hint = crate::Error::from(error).hint().expect("a hint").to_owned();
        assert!(hint.contains("add `gone` as the last line to .dockerignore"), "{hint}");
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_come_back() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;
        let (directory, _) = context(&[]);
        let long = [&[0xe9; 150][..], b"/x"].concat();
        let place = |path: &[u8]| directory.path().join(OsStr::from_bytes(path));
        fs::create_dir(place(&long[..150])).expect("directory");
        for name in [&b"caf\xe9"[..], &long] {
            fs::write(place(name), "text").expect("file");
        }
        std::os::unix::fs::symlink(OsStr::from_bytes(b"caf\xe9"), place(b"l\xff")).expect("link");
        let context =
            Context::scan(&BuildRequest::new("test", directory.path()), &|| false).expect("context");
        let bytes = archive(&context).expect("archive");
        let mut found = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().expect("entries") {
            let entry = entry.expect("entry");
            let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
            found.push((entry.path_bytes().into_owned(), link.unwrap_or_default()));
        }
        for (path, link) in [(&b"caf\xe9"[..], &b""[..]), (&long, b""), (b"l\xff", b"caf\xe9")] {
            assert!(found.contains(&(path.to_vec(), link.to_vec())), "{path:?} in {found:?}");
        }
    }

    #[test]
    fn stops_between_chunks_when_cancelled() {
        let (_directory, context) = context(&[("large", &"x".repeat(10 * BUFFER))]);
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

    #[cfg(unix)]
    #[test]
    fn preserved_permissions_are_in_the_headers() {
        use std::os::unix::fs::PermissionsExt as _;
        let (directory, _) = context(&[("tool", "x"), ("closed/key", "y")]);
        for (path, mode) in [("tool", 0o4751), ("closed/key", 0o600), ("closed", 0o1700)] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(directory.path().join(path), permissions).expect("changed");
        }
        let request = BuildRequest::new("test", directory.path()).preserve_permissions(true);
        let context = Context::scan(&request, &|| false).expect("context");
        let archive = archive(&context).expect("archive");
        let mut archive = tar::Archive::new(archive.as_slice());
        let modes: Vec<(String, u32)> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("entry");
                let path = entry.path().expect("path").to_string_lossy().into_owned();
                (path, entry.header().mode().expect("mode"))
            })
            .filter(|(path, _)| path != "Dockerfile")
            .collect();
        let expected = [("closed/", 0o1700), ("closed/key", 0o600), ("tool", 0o4751)];
        assert_eq!(modes, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
