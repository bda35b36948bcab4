//! The indexes of packs that this machine knows, so that the usual build asks for none. A pack's index never changes, as
//! its name is the digest of what is in it; what cannot be read is asked for again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::pack::PackIndex;
use garden_build_core::{Digest, user_cache_directory};

/// How long an index is kept that no build has needed. Packs themselves are not kept longer.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// A directory of this user with indexes. All that fails here only costs another transfer.
#[derive(Clone, Debug)]
pub(crate) struct IndexCache {
    directory: Option<PathBuf>,
}

impl IndexCache {
    /// In the user's directory for caches.
    pub(crate) fn of_user() -> Self {
        Self { directory: user_cache_directory("packs") }
    }

    /// Returns the index of a pack, and notes that it was needed.
    pub(crate) fn get(&self, pack: &Digest) -> Option<PackIndex> {
        let path = self.path(pack)?;
        let index = PackIndex::parse(&fs::read(&path).ok()?).ok()?;
        if let Ok(file) = fs::File::options().append(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(index)
    }

    /// Keeps the index of a pack.
    pub(crate) fn put(&self, pack: &Digest, index: &[u8]) {
        let Some(path) = self.path(pack) else { return };
        if let Err(error) = write(&path, index) {
            tracing::debug!(%error, path = %path.display(), "the index of a pack is not kept");
        }
    }

    /// Removes what no build has needed for long, and what writers that died have left.
    pub(crate) fn prune(&self) {
        let Some(directory) = &self.directory else { return };
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let age =
                entry.metadata().and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > KEPT) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, pack: &Digest) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(format!("{}.index", pack.hex())))
    }
}

/// Writes the file beside its place first, so that no reader sees a part of it.
fn write(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let beside = path.with_extension(format!("new-{}", uuid::Uuid::new_v4().simple()));
    let written = fs::File::create(&beside).and_then(|mut file| file.write_all(contents));
    written.and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_comes_back_and_damage_is_as_good_as_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = IndexCache { directory: Some(directory.path().join("deep")) };
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(cache.get(&one), None);
        let index = PackIndex::default();
        cache.put(&one, &index.to_bytes());
        assert_eq!((cache.get(&one), cache.get(&two)), (Some(index), None));
        let path = cache.path(&one).expect("a path");
        fs::write(&path, &fs::read(&path).expect("readable")[1..]).expect("writable");
        assert_eq!(cache.get(&one), None);
    }

    #[test]
    fn old_files_are_removed_and_needed_ones_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = IndexCache { directory: Some(directory.path().to_owned()) };
        let packs = [Digest::of(b"1"), Digest::of(b"2")];
        for pack in &packs {
            cache.put(pack, &PackIndex::default().to_bytes());
            let file = fs::File::options().append(true).open(cache.path(pack).expect("a path"));
            file.and_then(|file| file.set_modified(SystemTime::now() - 2 * KEPT)).expect("a file");
        }
        assert!(cache.get(&packs[1]).is_some());
        cache.prune();
        assert_eq!((cache.get(&packs[0]), cache.get(&packs[1]).is_some()), (None, true));
    }
}
