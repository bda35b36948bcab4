//! What this machine knows of the packs of one context service, so that the usual build asks for no index. A pack's index never
//! changes, as its name is the digest of what is in it; what cannot be read is asked for again.
//!
//! The digests of segments decide what the build's pod takes for the right content, so they count only if nobody but this user
//! can have written them.
//!
//! Why: docs/decisions/29-services-are-known-by-their-uid.md

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::pack::{NewPack, PackIndex, Segments};
use garden_build_core::{Caches, Digest, read_private_file, write_private_file};

/// How long an index is kept that no build has needed. Packs themselves are not kept longer.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// The largest file that is read, in bytes: the index of a pack with millions of files.
const LARGEST: u64 = 1 << 30;

/// What is kept of a pack.
const INDEX: &str = "index";
/// Kept if it was written here.
const SEGMENTS: &str = "segments";
/// Kept in place of both if it was not what it should be.
const DISTRUSTED: &str = "distrusted";

/// A directory that only this user can read, with what is known of the packs of one service. All that fails here only costs
/// another transfer.
#[derive(Clone, Debug)]
pub(crate) struct IndexCache {
    directory: Option<PathBuf>,
}

/// What is known of a pack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// Nothing.
    Nothing,
    /// What it holds; and the digests of its bytes, if it was written here.
    Pack(PackIndex, Option<Segments>),
    /// That it did not hold what it should.
    Distrusted,
}

impl IndexCache {
    /// In one of these `caches`, for the service of this identifier: that of an object in a cluster, which no other cluster has.
    pub(crate) fn of_service(caches: &Caches, uid: &str) -> Self {
        // The cluster says what it is, and so what it is called here must not lead anywhere else.
        let name = Digest::of(uid.as_bytes()).hex();
        Self { directory: caches.directory("packs").map(|packs| packs.join(name)) }
    }

    /// Returns what is known of a pack, and notes that it was needed.
    pub(crate) fn get(&self, pack: &Digest) -> Known {
        if self.read(pack, DISTRUSTED).is_some() {
            return Known::Distrusted;
        }
        let index = self.read(pack, INDEX).and_then(|bytes| PackIndex::parse(&bytes, pack).ok());
        let Some(index) = index else { return Known::Nothing };
        let segments = self.read(pack, SEGMENTS).and_then(|bytes| Segments::parse(&bytes, &index));
        Known::Pack(index, segments)
    }

    /// Keeps the index that a service has of a pack.
    pub(crate) fn put(&self, pack: &Digest, index: &PackIndex) {
        self.write(pack, INDEX, &index.to_bytes(pack));
    }

    /// Keeps what is known of a pack that was written here.
    pub(crate) fn put_own(&self, pack: &NewPack) {
        self.remove(&pack.name, DISTRUSTED);
        self.write(&pack.name, SEGMENTS, &pack.segments.to_bytes());
        self.put(&pack.name, &pack.index);
    }

    /// Has a pack not used any more, until it is written here.
    pub(crate) fn distrust(&self, pack: &Digest) {
        self.write(pack, DISTRUSTED, &[]);
        self.remove(pack, INDEX);
        self.remove(pack, SEGMENTS);
    }

    /// Removes what no build has needed for long, of this and of other services, and what writers that died have left.
    pub(crate) fn prune(&self) {
        let Some(services) = self.directory.as_ref().and_then(|directory| directory.parent()) else { return };
        for service in fs::read_dir(services).into_iter().flatten().flatten() {
            for entry in fs::read_dir(service.path()).into_iter().flatten().flatten() {
                let modified = entry.metadata().and_then(|file| file.modified()).ok();
                if modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > KEPT) {
                    let _ = fs::remove_file(entry.path());
                }
            }
            // This removes the directory of a service that is gone, in the end; one that has files stays.
            let _ = fs::remove_dir(service.path());
        }
    }

    /// Reads a file, and notes that it was needed.
    fn read(&self, pack: &Digest, kind: &str) -> Option<Vec<u8>> {
        let (directory, name) = (self.directory.as_ref()?, name(pack, kind));
        let bytes = read_private_file(directory, &name, LARGEST)?;
        if let Ok(file) = fs::File::options().append(true).open(directory.join(name)) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(bytes)
    }

    fn write(&self, pack: &Digest, kind: &str, bytes: &[u8]) {
        let Some(directory) = &self.directory else { return };
        if let Err(error) = write_private_file(directory, &name(pack, kind), bytes) {
            tracing::debug!(%error, directory = %directory.display(), "what is known of a pack is not kept");
        }
    }

    fn remove(&self, pack: &Digest, kind: &str) {
        if let Some(directory) = &self.directory {
            let _ = fs::remove_file(directory.join(name(pack, kind)));
        }
    }
}

fn name(pack: &Digest, kind: &str) -> String {
    format!("{}.{kind}", pack.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(directory: &tempfile::TempDir) -> IndexCache {
        IndexCache::of_service(&Caches::in_directory(directory.path()), "service")
    }

    fn pack(number: u8) -> NewPack {
        NewPack { name: Digest::of(&[number]), index: PackIndex::default(), segments: Segments::default() }
    }

    fn path(cache: &IndexCache, pack: &NewPack, kind: &str) -> PathBuf {
        cache.directory.as_ref().expect("a directory").join(name(&pack.name, kind))
    }

    #[test]
    fn what_was_put_comes_back_and_damage_is_as_good_as_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = cache(&directory);
        let (foreign, own) = (pack(1), pack(2));
        assert_eq!(cache.get(&own.name), Known::Nothing);
        cache.put(&foreign.name, &foreign.index);
        cache.put_own(&own);
        assert_eq!(cache.get(&foreign.name), Known::Pack(PackIndex::default(), None));
        assert_eq!(cache.get(&own.name), Known::Pack(PackIndex::default(), Some(Segments::default())));
        fs::write(path(&cache, &own, SEGMENTS), [0; 40]).expect("writable");
        assert_eq!(cache.get(&own.name), Known::Pack(PackIndex::default(), None));
        let index = path(&cache, &own, INDEX);
        fs::write(&index, &fs::read(&index).expect("readable")[1..]).expect("writable");
        assert_eq!(cache.get(&own.name), Known::Nothing);
        // That of another pack is not its own.
        fs::copy(path(&cache, &foreign, INDEX), &index).expect("copied");
        assert_eq!(cache.get(&own.name), Known::Nothing);
    }

    #[test]
    fn a_pack_that_is_distrusted_stays_so_until_it_is_written_here() {
        let directory = tempfile::tempdir().expect("a directory");
        let (cache, pack) = (cache(&directory), pack(1));
        cache.put(&pack.name, &pack.index);
        cache.distrust(&pack.name);
        assert_eq!(cache.get(&pack.name), Known::Distrusted);
        cache.put(&pack.name, &pack.index);
        assert_eq!(cache.get(&pack.name), Known::Distrusted, "the service says it again");
        cache.put_own(&pack);
        assert_eq!(cache.get(&pack.name), Known::Pack(PackIndex::default(), Some(Segments::default())));
    }

    #[test]
    fn what_one_service_says_is_not_known_of_another() {
        let of = |uid| IndexCache::of_service(&Caches::in_directory("/caches"), uid).directory;
        assert_ne!(of("one"), of("another"));
        let directory = of("../../escaped").expect("a directory");
        assert_eq!(directory.parent(), Some(std::path::Path::new("/caches/packs")));
    }

    #[test]
    fn without_caches_nothing_is_known() {
        let (cache, pack) = (IndexCache::of_service(&Caches::none(), "service"), pack(1));
        cache.put_own(&pack);
        assert_eq!((cache.directory.clone(), cache.get(&pack.name)), (None, Known::Nothing));
    }

    #[cfg(unix)]
    #[test]
    fn only_this_user_can_read_it_and_what_others_can_write_does_not_count() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().expect("a directory");
        let (cache, pack) = (cache(&directory), pack(1));
        cache.put_own(&pack);
        let home = cache.directory.clone().expect("a directory");
        let mode = |path: &PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&home), 0o700);
        for kind in [INDEX, SEGMENTS] {
            assert_eq!(mode(&path(&cache, &pack, kind)), 0o600, "{kind}");
        }
        let set = |path: &PathBuf, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        };
        set(&path(&cache, &pack, SEGMENTS), 0o620);
        assert_eq!(cache.get(&pack.name), Known::Pack(PackIndex::default(), None));
        set(&home, 0o770);
        assert_eq!(cache.get(&pack.name), Known::Nothing);
    }

    #[test]
    fn old_files_are_removed_and_needed_ones_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = cache(&directory);
        let gone = IndexCache::of_service(&Caches::in_directory(directory.path()), "gone");
        let packs = [pack(1), pack(2)];
        for (cache, pack) in [(&cache, &packs[0]), (&cache, &packs[1]), (&gone, &packs[0])] {
            cache.put(&pack.name, &pack.index);
            let file = fs::File::options().append(true).open(path(cache, pack, INDEX));
            file.and_then(|file| file.set_modified(SystemTime::now() - 2 * KEPT)).expect("a file");
        }
        assert_ne!(cache.get(&packs[1].name), Known::Nothing);
        cache.prune();
        assert_eq!(cache.get(&packs[0].name), Known::Nothing);
        assert_ne!(cache.get(&packs[1].name), Known::Nothing);
        assert!(!gone.directory.expect("a directory").exists());
    }
}
