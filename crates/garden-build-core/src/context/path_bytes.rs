// Why: docs/decisions/12-paths-are-bytes.md

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::select::line_for;

/// The path of an entry, or what a link leads to: bytes, as Unix has them, and nearly always UTF-8.
///
/// Shown, it is text in one line: bytes that are not UTF-8 are escaped, and so are control characters.
///
/// ```
/// use garden_build_core::context::PathBytes;
///
/// let path = PathBytes::from(&b"caf\xe9/menu.txt"[..]);
/// assert_eq!(path.to_string(), r"caf\xe9/menu.txt");
/// assert_eq!(path.as_str(), None);
/// assert_eq!(path.ignore_pattern(), "caf?/menu.txt");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PathBytes(Vec<u8>);

impl PathBytes {
    /// Takes a name or a path as the operating system has it. `None` if it is not UTF-8, elsewhere than on Unix.
    pub fn from_os(name: &OsStr) -> Option<Self> {
        let is_taken = cfg!(unix) || name.to_str().is_some();
        is_taken.then(|| Self(name.as_encoded_bytes().to_vec()))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns it as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns it as the operating system takes it.
    ///
    /// # Errors
    /// If it is not UTF-8, elsewhere than on Unix.
    #[cfg(unix)]
    pub fn as_path(&self) -> io::Result<&Path> {
        use std::os::unix::ffi::OsStrExt as _;
        Ok(Path::new(OsStr::from_bytes(&self.0)))
    }

    /// Returns it as the operating system takes it.
    ///
    /// # Errors
    /// If it is not UTF-8, elsewhere than on Unix.
    #[cfg(not(unix))]
    pub fn as_path(&self) -> io::Result<&Path> {
        self.as_str().map(Path::new).ok_or_else(|| io::ErrorKind::InvalidFilename.into())
    }

    /// Returns the line of a `.dockerignore` that leaves out what is at this path, and as little else as a line can.
    pub fn ignore_pattern(&self) -> String {
        line_for(&self.0)
    }
}

impl fmt::Display for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    f.write_char(character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// As it is shown.
impl Serialize for PathBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl AsRef<[u8]> for PathBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for PathBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for PathBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&PathBytes> for PathBytes {
    fn from(path: &PathBytes) -> Self {
        path.clone()
    }
}

impl From<String> for PathBytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for PathBytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<PathBytes> for Vec<u8> {
    fn from(path: PathBytes) -> Self {
        path.0
    }
}

impl PartialEq<str> for PathBytes {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for PathBytes {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_in_one_line_with_what_is_no_text_escaped() {
        for (bytes, shown) in [
            (&b"src/main.rs"[..], "src/main.rs"),
            ("grün/名".as_bytes(), "grün/名"),
            (b"caf\xe9", r"caf\xe9"),
            (b"\xe2\x82x", r"\xe2\x82x"),
            (b"a\nb\x1b[31m", r"a\nb\u{1b}[31m"),
        ] {
            assert_eq!(PathBytes::from(bytes).to_string(), shown);
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_of_the_system_come_back_whatever_is_in_them() {
        use std::os::unix::ffi::OsStrExt as _;
        let name = OsStr::from_bytes(b"caf\xe9");
        let path = PathBytes::from_os(name).expect("Unix takes all bytes");
        assert_eq!(path.as_path().expect("Unix takes all bytes").as_os_str(), name);
    }
}
