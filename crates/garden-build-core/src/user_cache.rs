//! Caches of this user: where they are, and files in them that only this user can read or has written.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use tempfile::NamedTempFile;

/// How a file is called that is in the making.
pub(crate) const UNFINISHED_PREFIX: &str = "new-";

/// Returns where the caches of this user called `name` are: `garden-build/<name>` in `$XDG_CACHE_HOME` or `~/.cache`, on
/// macOS in `~/Library/Caches`; `None` if the user has no such directory. It need not exist.
pub fn user_cache_directory(name: &str) -> Option<PathBuf> {
    let strategy = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(strategy.cache_dir().join("garden-build").join(name))
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
