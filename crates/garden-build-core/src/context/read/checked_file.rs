use std::fmt;
use std::fs::File;

use super::{open, read};
use crate::context::{ContextError, DigestCache, OpenDirectory, PathBytes};
use crate::{Digest, Sha256};

/// An ordinary file that is read as long as it is what it was when it was found.
///
/// A file that is shorter, longer, gone or something else by now is [`ContextError::Changed`], and so
/// is one whose content differs, if it is known what the content has to be.
pub struct CheckedFile {
    path: PathBytes,
    file: File,
    /// What is still expected to follow.
    rest: u64,
    digest: Option<(Sha256, Digest)>,
    root: OpenDirectory,
    /// Where the digest may come from.
    cache: Option<DigestCache>,
}

impl CheckedFile {
    /// Opens the file `path` in `root`, which has to hold `size` bytes
    /// and, if one is given, to have the `digest`.
    ///
    /// # Errors
    /// If there is no such ordinary file any more, or it cannot be opened.
    pub fn open(
        root: &OpenDirectory,
        path: &PathBytes,
        size: u64,
        digest: Option<Digest>,
    ) -> Result<Self, ContextError> {
        let (file, _) = open(root, path)?;
        let digest = digest.map(|digest| (Sha256::new(), digest));
        Ok(Self { path: path.clone(), file, rest: size, digest, root: root.clone(), cache: None })
    }

    /// Lets `cache` forget the directory if the content is not what the digest says. Hardly ever is it the
    /// cache that is wrong: a file that is written through a memory map may change without its times. But if it
    /// is, the next scan must not find the same again.
    pub(in crate::context) fn distrusting(self, cache: &DigestCache) -> Self {
        Self { cache: Some(cache.clone()), ..self }
    }

    /// Appends up to `limit` bytes to `buffer`. Returns whether the file has been read to its end,
    /// and has been found to be what it was. Nothing may be read after that.
    ///
    /// # Errors
    /// If the file has changed, or cannot be read.
    pub fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> Result<bool, ContextError> {
        let start = buffer.len();
        let wanted = usize::try_from(self.rest).unwrap_or(usize::MAX).min(limit);
        buffer.resize(start + wanted, 0);
        let mut filled = start;
        while filled < buffer.len() {
            let length = read(&mut self.file, &mut buffer[filled..])
                .map_err(|error| ContextError::reading(&self.path, error))?;
            if length == 0 {
                return Err(self.changed());
            }
            filled += length;
        }
        if let Some((hasher, _)) = &mut self.digest {
            hasher.update(&buffer[start..]);
        }
        self.rest -= wanted as u64;
        if self.rest > 0 {
            return Ok(false);
        }
        self.check_end()?;
        Ok(true)
    }

    fn check_end(&mut self) -> Result<(), ContextError> {
        let more =
            read(&mut self.file, &mut [0]).map_err(|error| ContextError::reading(&self.path, error))?;
        let differs = self.digest.take().is_some_and(|(hasher, expected)| hasher.digest() != expected);
        if let Some(cache) = self.cache.take_if(|_| differs) {
            cache.forget(self.root.path());
        }
        if more > 0 || differs { Err(self.changed()) } else { Ok(()) }
    }

    fn changed(&self) -> ContextError {
        ContextError::Changed(self.path.clone())
    }
}

impl fmt::Debug for CheckedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedFile")
            .field("path", &self.path)
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_all(root: &OpenDirectory, size: u64, digest: Option<Digest>) -> Result<Vec<u8>, ContextError> {
        let mut file = CheckedFile::open(root, &"a".into(), size, digest)?;
        let mut content = Vec::new();
        while !file.read(&mut content, 4)? {}
        Ok(content)
    }

    #[test]
    fn reads_exactly_what_was_found_or_says_that_it_changed() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join("a"), "0123456789").expect("file");
        let root = OpenDirectory::open(directory.path()).expect("open");
        let read = |size, digest| read_all(&root, size, digest);
        assert_eq!(read(10, None).expect("content"), b"0123456789");
        assert_eq!(read(10, Some(Digest::of(b"0123456789"))).expect("content"), b"0123456789");
        for (size, digest) in [(9, None), (11, None), (8, None), (0, None), (10, Some(Digest::of(b"x")))] {
            assert!(matches!(read(size, digest), Err(ContextError::Changed(path)) if path == "a"), "{size}");
        }
        fs::write(directory.path().join("a"), "").expect("file");
        assert_eq!(read(0, Some(Digest::of(b""))).expect("content"), b"");
    }
}
