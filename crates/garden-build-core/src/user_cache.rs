//! Caches of this user: where they are, and files in them that only this user can read or has written.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use tempfile::NamedTempFile;

use crate::context::DigestCache;

/// How a file is called that is in the making.
pub(crate) const UNFINISHED_PREFIX: &str = "new-";

/// Where a builder keeps what it has learned for later builds, which would otherwise find it out again: the digests of files (in
/// `digests`), which base images have triggers (`base-images`), and which files a context service has (`packs`).
///
/// None of it changes what is built. Only the user can read it, and what somebody else could have written does not count. Several
/// processes may use the same directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Caches {
    directory: Option<PathBuf>,
}

impl Caches {
    /// Keeps nothing longer than the builder lives.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keeps it in `directory`, which is made when it is needed and has to belong to the user alone.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()) }
    }

    /// Keeps it in the user's directory for caches: `garden-build` in `$XDG_CACHE_HOME` or `~/.cache`, on macOS in
    /// `~/Library/Caches`. Keeps nothing if the user has none.
    pub fn of_user() -> Self {
        let strategy = etcetera::base_strategy::choose_native_strategy().ok();
        Self { directory: strategy.map(|strategy| strategy.cache_dir().join("garden-build")) }
    }

    /// Returns the directory for what is called `name`; `None` if nothing is kept. It need not exist.
    pub fn directory(&self, name: &str) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(name))
    }

    /// Returns where the digests of files are kept.
    pub fn digests(&self) -> DigestCache {
        self.directory("digests").map_or_else(DigestCache::none, DigestCache::in_directory)
    }
}

/// Reads the file `name` in `directory`; `None` if it is not there, has more than `limit` bytes, is not this user's own, or
/// somebody else can write to it or to the directory.
pub fn read_private_file(directory: &Path, name: &str, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open_private(directory, name)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// Writes the file `name` in `directory`, which is made if it does not exist. Only this user can read it. It takes the place
/// of another when it is whole.
///
/// # Errors
/// If it cannot be written, or the directory is not this user's own or somebody else can write to it.
pub fn write_private_file(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_private(directory)?;
    file.write_all(bytes)?;
    file.persist(directory.join(name))?;
    Ok(())
}

/// Opens a file, if it is this user's own and nobody else can write to it.
pub(crate) fn open_private(directory: &Path, name: &str) -> Option<File> {
    if !is_private(&fs::symlink_metadata(directory).ok()?, true) {
        return None;
    }
    let file = File::open(directory.join(name)).ok()?;
    is_private(&file.metadata().ok()?, false).then_some(file)
}

/// Creates a file that only this user can read, to take the place of another when it is whole.
pub(crate) fn create_private(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)?;
    if !is_private(&fs::symlink_metadata(directory)?, true) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    tempfile::Builder::new().prefix(UNFINISHED_PREFIX).tempfile_in(directory)
}

/// Whether something is an ordinary file, or a directory, of this user that nobody else can write to.
#[cfg(unix)]
fn is_private(metadata: &Metadata, is_directory: bool) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let is_right_kind = if is_directory { metadata.is_dir() } else { metadata.is_file() };
    is_right_kind && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn is_private(metadata: &Metadata, is_directory: bool) -> bool {
    if is_directory { metadata.is_dir() } else { metadata.is_file() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_caches_are_in_one_directory_or_nowhere() {
        let caches = Caches::in_directory("/caches");
        assert_eq!(caches.directory("packs"), Some(PathBuf::from("/caches/packs")));
        assert_eq!(Caches::none().directory("packs"), None);
        let of_user = Caches::of_user().directory("packs");
        assert!(of_user.is_none_or(|directory| directory.ends_with("garden-build/packs")));
    }
}
