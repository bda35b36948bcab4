//! What the file says after it was written, damaged, or shared.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use super::*;

/// The context directory.
const TOP: Directory = (3, 7);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const SECOND: i64 = 1_000_000_000;

fn item(inode: u64) -> Item {
    let (modified, changed) = (7 * SECOND, 8 * SECOND + 1);
    let stamp = Stamp { device: 3, inode, size: 5, modified, changed };
    Item { stamp, digest: Digest::of(&inode.to_le_bytes()) }
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    fn cache(&self) -> DigestCache {
        DigestCache::in_directory(self.0.path().join("digests"))
    }

    fn session(&self) -> Session {
        self.session_at(Path::new("/context"), TOP)
    }

    fn session_at(&self, root: &Path, top: Directory) -> Session {
        Session::of(&self.cache(), root, top, true)
    }

    /// Keeps something of `root`. Returns the file.
    fn write_at(&self, root: &Path, is_named: bool) -> PathBuf {
        let session = Session::of(&self.cache(), root, TOP, is_named);
        session.replace((3, 1), vec![item(10)]);
        session.finish();
        self.0.path().join("digests").join(file::name_of(root).hex())
    }

    /// Keeps what is to be kept of each directory, given by its inode.
    fn write(&self, directories: &[(u64, &[u64])]) {
        let session = self.session();
        for (directory, inodes) in directories {
            session.replace((3, *directory), inodes.iter().copied().map(item).collect());
        }
        session.finish();
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path().join("digests")).into_iter().flatten();
        entries.map(|entry| entry.expect("entry").path()).collect()
    }

    fn file(&self) -> PathBuf {
        let [file] = &self.files()[..] else { panic!("not one file: {:?}", self.files()) };
        file.clone()
    }

    /// Which of `inodes` are known of `directory`, all with the right digests.
    fn known(&self, directory: u64, inodes: &[u64]) -> Vec<u64> {
        let known = self.session().known((3, directory));
        let digests = inodes.iter().map(|inode| (*inode, known.digest(&item(*inode).stamp)));
        let known: Vec<(u64, Digest)> =
            digests.filter_map(|(inode, digest)| Some((inode, digest?))).collect();
        for (inode, digest) in &known {
            assert_eq!(*digest, item(*inode).digest, "{inode}");
        }
        known.into_iter().map(|(inode, _)| inode).collect()
    }
}

#[test]
fn what_is_kept_is_known_again_and_only_with_the_same_stamp() {
    let home = Home::new();
    home.write(&[(1, &[10, 12, 11]), (2, &[20])]);
    assert_eq!(home.known(1, &[9, 10, 11, 12, 20]), [10, 11, 12]);
    assert_eq!(home.known(2, &[10, 20]), [20]);
    assert!(home.known(4, &[10, 20]).is_empty());
    let known = home.session().known((3, 1));
    let stamp = item(10).stamp;
    assert!(known.digest(&stamp).is_some());
    for other in [
        Stamp { device: 4, ..stamp },
        Stamp { inode: 13, ..stamp },
        Stamp { size: 6, ..stamp },
        Stamp { modified: stamp.modified + 1, ..stamp },
        Stamp { changed: stamp.changed - 1, ..stamp },
    ] {
        assert_eq!(known.digest(&other), None, "{other:?}");
    }
}

#[test]
fn a_directory_is_replaced_kept_or_for_now_not_looked_at() {
    let home = Home::new();
    home.write(&[(1, &[10, 11]), (2, &[20]), (5, &[50])]);
    let session = home.session();
    session.replace((3, 1), vec![item(11)]);
    session.replace((3, 1), vec![item(13), item(12)]);
    session.keep((3, 2));
    session.finish();
    assert_eq!(home.known(1, &[10, 11, 12, 13]), [11, 12, 13]);
    assert_eq!((home.known(2, &[20]), home.known(5, &[50])), (vec![20], vec![50]));
    home.write(&[(1, &[])]);
    assert!(home.known(1, &[11, 12, 13]).is_empty());
    assert_eq!(home.known(2, &[20]), [20]);
}

#[test]
fn nothing_is_written_if_nothing_is_new() {
    let home = Home::new();
    home.write(&[(1, &[10])]);
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o400)).expect("mode");
    let session = home.session();
    session.keep((3, 1));
    session.finish();
    let mode = fs::metadata(home.file()).expect("file").permissions().mode();
    assert_eq!(mode & 0o777, 0o400, "it is still the same file");
}

#[test]
fn only_the_user_can_read_it() {
    let home = Home::new();
    home.write(&[(1, &[10])]);
    let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o7777;
    assert_eq!((mode(&home.file()), mode(&home.0.path().join("digests"))), (0o600, 0o700));
}

#[test]
fn what_others_can_write_to_or_own_is_not_used() {
    let home = Home::new();
    home.write(&[(1, &[10])]);
    let directory = home.0.path().join("digests");
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    for path in [home.file(), directory.clone()] {
        set(&path, 0o722);
        assert!(home.known(1, &[10]).is_empty(), "{path:?}");
        set(&path, 0o700);
        assert_eq!(home.known(1, &[10]), [10]);
    }
    // Only the superuser can give something away, and so see how it is not used.
    if std::os::unix::fs::chown(home.file(), Some(12345), None).is_ok() {
        assert!(home.known(1, &[10]).is_empty());
    }
}

#[test]
fn a_file_of_another_root_is_not_used() {
    let home = Home::new();
    home.write(&[(1, &[10])]);
    let other = home.session_at(Path::new("/other"), TOP);
    other.replace((3, 1), vec![item(11)]);
    other.finish();
    assert_eq!(home.files().len(), 2);
    let [one, two] = ["/context", "/other"]
        .map(|root| home.0.path().join("digests").join(file::name_of(Path::new(root)).hex()));
    fs::copy(two, one).expect("copied");
    assert!(home.known(1, &[10, 11]).is_empty());
}

#[test]
fn a_file_that_was_cut_anywhere_says_nothing_wrong() {
    let home = Home::new();
    home.write(&[(1, &[10, 11]), (2, &[20])]);
    let whole = fs::read(home.file()).expect("file");
    for length in 0..whole.len() {
        fs::write(home.file(), &whole[..length]).expect("written");
        assert!(home.known(1, &[10, 11]).is_empty() && home.known(2, &[20]).is_empty(), "{length}");
    }
    fs::write(home.file(), [&whole[..], b"x"].concat()).expect("written");
    assert!(home.known(1, &[10, 11]).is_empty());
}

#[test]
fn a_flipped_bit_says_nothing_wrong() {
    let home = Home::new();
    home.write(&[(1, &[10, 11]), (2, &[20])]);
    let mut bytes = fs::read(home.file()).expect("file");
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(home.file(), &bytes).expect("written");
        // `known` compares the digests. The blocks of the other directory may still be whole.
        let known = [home.known(1, &[10, 11]), home.known(2, &[20])].concat();
        assert!(known.len() < 3, "{bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn any_other_content_is_ignored_and_replaced() {
    let home = Home::new();
    home.write(&[(1, &[10])]);
    let file = home.file();
    for junk in
        [&b""[..], b"gbdigst1", &[0; 500], &[255; 500], &[b"x".repeat(68), b"gbdigst2".to_vec()].concat()]
    {
        fs::write(&file, junk).expect("written");
        assert!(home.known(1, &[10]).is_empty());
        home.write(&[(1, &[10])]);
        assert_eq!(home.known(1, &[10]), [10]);
    }
    fs::remove_file(&file).expect("removed");
    fs::create_dir(&file).expect("directory");
    home.write(&[(1, &[10])]);
    assert!(home.known(1, &[10]).is_empty());
}

#[test]
fn a_place_that_cannot_be_written_is_as_good_as_none() {
    let home = Home::new();
    fs::write(home.0.path().join("digests"), "a file").expect("written");
    home.write(&[(1, &[10])]);
    assert!(home.known(1, &[10]).is_empty());
}

#[test]
fn a_scan_that_breaks_off_leaves_nothing_behind() {
    let home = Home::new();
    home.session().replace((3, 1), vec![item(10)]);
    assert!(home.files().is_empty());
}

#[test]
fn files_of_killed_processes_and_of_forgotten_contexts_are_removed() {
    let home = Home::new();
    home.write(&[(1, &[10])]);
    let directory = home.0.path().join("digests");
    let hour = 60 * 60;
    for (name, age) in [("new-a", 2 * hour), ("new-b", 0), ("c", 31 * 24 * hour), ("d", 29 * 24 * hour)] {
        let file = File::create(directory.join(name)).expect("file");
        let then = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(then).expect("time");
    }
    home.write(&[(1, &[11])]);
    let name = |path: PathBuf| path.file_name().expect("name").to_string_lossy().into_owned();
    let mut left: Vec<String> = home.files().into_iter().map(name).filter(|name| name.len() < 9).collect();
    left.sort();
    assert_eq!(left, ["d", "new-b"]);
    assert_eq!(home.known(1, &[10, 11]), [11]);
}

#[test]
fn the_files_that_were_written_longest_ago_go_if_they_are_too_large_together() {
    let home = Home::new();
    home.write(&[(1, &[10])]);
    let directory = home.0.path().join("digests");
    for (name, age) in [("old", 300), ("older", 400)] {
        let file = File::create(directory.join(name)).expect("file");
        // Sparse: it takes no space.
        file.set_len(300 * 1024 * 1024).expect("length");
        let then = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(then).expect("time");
    }
    home.write(&[(1, &[11])]);
    assert!(directory.join("old").exists() && !directory.join("older").exists());
    assert_eq!(home.known(1, &[11]), [11]);
}

#[test]
fn several_scans_at_once_leave_a_whole_file() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..50 {
                    home.write(&[(1, &[10, 11]), (2, &[round])]);
                    assert_eq!(home.known(1, &[10, 11]), [10, 11]);
                }
            });
        }
    });
    assert_eq!(home.files().len(), 1);
}

/// Makes a file one that was last written so long ago.
fn make_old(file: &Path, age: Duration) {
    let file = File::options().append(true).open(file).expect("a file");
    file.set_modified(SystemTime::now() - age).expect("time");
}

#[test]
fn of_directories_that_do_not_exist_any_more_nothing_is_kept() {
    let home = Home::new();
    let path = |name: &str| home.0.path().join(name);
    fs::create_dir(path("there")).expect("directory");
    fs::write(path("file"), "").expect("written");
    let there = home.write_at(&path("there"), true);
    // Another process may see it.
    let just_used = home.write_at(&path("just used"), true);
    // One on another machine, which may not answer, is not asked for.
    let elsewhere = home.write_at(&path("elsewhere"), false);
    let gone = ["gone", "file/gone", "file"].map(|name| home.write_at(&path(name), true));
    // A path that the file is not called after says nothing.
    let wrong = path("digests").join("0".repeat(64));
    fs::copy(&gone[0], &wrong).expect("copied");
    for file in gone.iter().chain([&there, &elsewhere, &wrong]) {
        make_old(file, 3 * DAY);
    }
    make_old(&just_used, DAY);
    home.write(&[(1, &[11])]);
    for file in [there, just_used, elsewhere, wrong] {
        assert!(file.exists(), "{file:?}");
    }
    for file in gone {
        assert!(!file.exists(), "{file:?}");
    }
}

#[test]
fn however_many_directories_are_gone_the_last_one_has_its_turn() {
    let home = Home::new();
    let roots = |kind: &str| -> Vec<PathBuf> {
        (0..20).map(|number| home.0.path().join(format!("{kind}{number}"))).collect()
    };
    for root in roots("there") {
        fs::create_dir(root).expect("directory");
    }
    let [there, gone] = ["there", "gone"]
        .map(|kind| -> Vec<PathBuf> { roots(kind).iter().map(|root| home.write_at(root, true)).collect() });
    for file in there.iter().chain(&gone) {
        make_old(file, 3 * DAY);
    }
    let left = || gone.iter().filter(|file| file.exists()).count();
    home.write(&[(1, &[0])]);
    assert!(left() >= 12, "few are looked at each time");
    let mut round = 0;
    while left() > 0 {
        round += 1;
        home.write(&[(1, &[round])]);
    }
    assert!(there.iter().all(|file| file.exists()));
}

#[test]
fn of_a_directory_that_was_made_anew_only_what_was_seen_in_it_is_kept() {
    let home = Home::new();
    home.write(&[(1, &[10]), (2, &[20]), (5, &[50])]);
    // With the same directory, what was not looked at may still be there.
    home.write(&[(1, &[11])]);
    assert_eq!((home.known(2, &[20]), home.known(5, &[50])), (vec![20], vec![50]));
    let session = home.session_at(Path::new("/context"), (3, 8));
    session.replace((3, 1), vec![item(12)]);
    session.keep((3, 2));
    session.finish();
    assert_eq!((home.known(1, &[11, 12]), home.known(2, &[20])), (vec![12], vec![20]));
    assert!(home.known(5, &[50]).is_empty());
}
