//! Reading files of a repository that somebody else has made.
//!
//! Why: docs/decisions/11-repository-files-have-a-bounded-size.md

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Reads the file at `path`, which may lead through links, if it is an ordinary file of at most `limit` bytes.
///
/// What leads to a device without an end, or to a FIFO that nobody writes to, is neither read nor waited for: what it is
/// is asked of the open file, so nothing can be put in its place in between.
///
/// # Errors
/// As for any file; [`InvalidInput`](io::ErrorKind::InvalidInput) if it is not an ordinary one, and
/// [`FileTooLarge`](io::ErrorKind::FileTooLarge).
pub fn read_regular_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    read_at_most(file, limit)
}

/// Reads all of `file`, of which it is known what it is.
///
/// # Errors
/// If it cannot be read, and [`FileTooLarge`](io::ErrorKind::FileTooLarge) if it has more than `limit` bytes.
pub fn read_at_most(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut contents)?;
    if contents.len() as u64 > limit {
        let message = format!("it is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(contents)
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_ordinary_files_of_a_bounded_size_are_read() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "12345").expect("file");
        symlink("file", path("link")).expect("link");
        symlink("/dev/zero", path("endless")).expect("link");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a FIFO");
        for name in ["file", "link"] {
            assert_eq!(read_regular_file(&path(name), 5).expect(name), b"12345");
            let error = read_regular_file(&path(name), 4).expect_err(name);
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{name}");
        }
        for name in ["endless", "fifo", "."] {
            let error = read_regular_file(&path(name), 4).expect_err(name);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(read_regular_file(&path("none"), 4).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }
}
