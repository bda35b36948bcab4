//! The directory with the caches of one user.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::file::name_of;

/// A context that was not scanned for this long is forgotten.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The most that all caches together may take. Those that were written longest ago go first.
const SIZE_LIMIT: u64 = 512 * 1024 * 1024;

/// How long a file may be in the making. An older one was left by a process that was killed.
const UNFINISHED: Duration = Duration::from_secs(60 * 60);

const UNFINISHED_PREFIX: &str = "new-";

/// The file for the context directory `root`.
fn path_of(directory: &Path, root: &Path) -> PathBuf {
    directory.join(name_of(root).hex())
}

/// Opens a cache file, if it is this user's own and nobody else can write to it.
pub(super) fn open(directory: &Path, root: &Path) -> Option<File> {
    if !is_private(&fs::symlink_metadata(directory).ok()?, true) {
        return None;
    }
    let file = File::open(path_of(directory, root)).ok()?;
    is_private(&file.metadata().ok()?, false).then_some(file)
}

/// Creates a file that only this user can read, to take the place of another when it is whole.
pub(super) fn create(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)?;
    if !is_private(&fs::symlink_metadata(directory)?, true) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    tempfile::Builder::new().prefix(UNFINISHED_PREFIX).tempfile_in(directory)
}

/// Puts a file in the place of the one for `root`.
pub(super) fn replace(directory: &Path, root: &Path, file: NamedTempFile) -> io::Result<()> {
    file.persist(path_of(directory, root))?;
    Ok(())
}

/// Removes the file for `root`, if there is one.
pub(super) fn remove(directory: &Path, root: &Path) {
    let _ = fs::remove_file(path_of(directory, root));
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

/// Removes what is too old, was never finished, or is more than there may be.
pub(super) fn tidy(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let now = SystemTime::now();
    let mut files: Vec<(Duration, u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            let age = now.duration_since(metadata.modified().ok()?).unwrap_or_default();
            metadata.is_file().then(|| (age, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total = 0;
    for (age, size, path) in files {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let limit = if name.starts_with(UNFINISHED_PREFIX) { UNFINISHED } else { FORGOTTEN_AFTER };
        total += size;
        if age > limit || total > SIZE_LIMIT {
            // Another process may have done it.
            let _ = fs::remove_file(path);
        }
    }
}
