//! Random trees on a real file system, and random changes of them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// The seeds from `first` on: `usual` many, or as many times that as `GARDEN_TEST_TREES` says, for those who
/// have the time to look for what is rare.
pub(crate) fn seeds(first: u64, usual: u64) -> Range<u64> {
    let times = std::env::var("GARDEN_TEST_TREES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    first..first + usual * times
}

/// Numbers that are the same in every run: splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("small")
    }

    pub(crate) fn choose<'t, T: ?Sized>(&mut self, items: &[&'t T]) -> &'t T {
        items[self.below(items.len())]
    }
}

const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"a-b",
    b"a.b",
    b"ab",
    "é".as_bytes(),
    b"x y",
    b"Z",
    b"c0",
    b"*",
    "\u{10348}".as_bytes(),
    b"a\\b",
    // What is not UTF-8: Latin-1, and the beginning of a character.
    b"\xe9",
    b"c\xe2\x82",
];

const MODES: &[&u32] = &[&0o644, &0o755, &0o600, &0o444, &0o4755, &0o2711, &0o1777, &0o000, &0o666];

const TARGETS: &[&[u8]] = &[
    b"a",
    b"b",
    b"../a",
    b"a/b",
    b"/a/b",
    b"/Z",
    "é".as_bytes(),
    b"../../x y",
    b".",
    b"..",
    b"/",
    b"no/where",
    b"ab/../c0",
    b"./a/./b",
    b"../\xe9",
];

/// Which kinds of entries a tree has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// Files, directories and symbolic links.
    Ordinary,
    /// Devices, pipes, sockets, hard links and odd modes as well.
    All,
}

/// Makes a tree of about `size` entries in `root`.
pub(crate) fn plant(root: &Path, random: &mut Random, size: usize, kinds: Kinds) {
    for _ in 0..size {
        add(root, random, kinds);
    }
}

/// Changes a few things.
pub(crate) fn change(root: &Path, random: &mut Random, kinds: Kinds) {
    for _ in 0..random.below(6) {
        let paths = paths(root);
        if paths.is_empty() || random.below(3) == 0 {
            add(root, random, kinds);
            continue;
        }
        let path = &paths[random.below(paths.len())];
        let metadata = fs::symlink_metadata(path).expect("metadata");
        match random.below(5) {
            0 => remove(path),
            1 if metadata.is_file() => write(path, random),
            2 if metadata.is_file() => touch(path, random),
            3 if !metadata.is_symlink() => chmod(path, random, kinds),
            _ => {
                let to = place(root, random);
                if !to.starts_with(path) {
                    remove(&to);
                    let _ = fs::rename(path, to);
                }
            }
        }
    }
}

/// All entries, in no order.
pub(crate) fn paths(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut entries: Vec<_> =
            fs::read_dir(directory).expect("directory").map(|entry| entry.expect("entry")).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_type().expect("type").is_dir() {
                directories.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

/// Whether a link has a name, or leads to one, that is not UTF-8.
pub(crate) fn has_raw_links(root: &Path) -> bool {
    let is_raw = |path: &PathBuf| match fs::read_link(path) {
        Ok(target) => path.to_str().is_none() || target.to_str().is_none(),
        Err(_) => false,
    };
    paths(root).iter().any(is_raw)
}

fn add(root: &Path, random: &mut Random, kinds: Kinds) {
    let path = place(root, random);
    if fs::symlink_metadata(&path).is_ok() {
        return;
    }
    match random.below(if kinds == Kinds::All { 14 } else { 9 }) {
        0..=4 => write(&path, random),
        5 | 6 => fs::create_dir(&path).expect("directory"),
        7 | 8 => symlink(OsStr::from_bytes(random.choose(TARGETS)), &path).expect("link"),
        9 | 10 => {
            let existing: Vec<PathBuf> =
                paths(root).into_iter().filter(|path| !path.is_symlink() && !path.is_dir()).collect();
            if !existing.is_empty() {
                fs::hard_link(&existing[random.below(existing.len())], &path).expect("hard link");
            }
        }
        11 => special(&path, rustix::fs::FileType::Fifo, 0),
        12 => special(&path, rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        _ => {
            // The path of a socket is limited to about 100 bytes, so it is made elsewhere.
            let short = root.with_extension("s");
            drop(UnixListener::bind(&short).expect("socket"));
            fs::rename(short, &path).expect("renamed");
        }
    }
    if kinds == Kinds::All && random.below(3) == 0 && !path.is_symlink() && path.exists() {
        chmod(&path, random, kinds);
        if path.is_file() || path.is_dir() {
            let flags = rustix::fs::XattrFlags::empty();
            let _ = rustix::fs::setxattr(&path, "user.garden", b"value", flags);
        }
    }
}

/// A new path in some directory.
fn place(root: &Path, random: &mut Random) -> PathBuf {
    let mut directory = root.to_owned();
    while random.below(3) > 0 {
        let below = directory.join(OsStr::from_bytes(random.choose(NAMES)));
        if !fs::symlink_metadata(&below).is_ok_and(|metadata| metadata.is_dir()) {
            break;
        }
        directory = below;
    }
    directory.join(OsStr::from_bytes(random.choose(NAMES)))
}

fn write(path: &Path, random: &mut Random) {
    let size = [0, 1, 100, 4096, 65535, 65536, 65537, 200_000][random.below(8)] + random.below(2);
    let byte = u8::try_from(random.below(256)).expect("byte");
    let content: Vec<u8> = (0_u8..=255).cycle().map(|index| index ^ byte).take(size).collect();
    fs::write(path, content).expect("file");
    touch(path, random);
}

fn touch(path: &Path, random: &mut Random) {
    let nanoseconds = 1_600_000_000_000_000_000 + random.next() % 100_000_000_000_000_000;
    let file = File::open(path).expect("file");
    file.set_modified(UNIX_EPOCH + Duration::from_nanos(nanoseconds)).expect("time");
}

fn chmod(path: &Path, random: &mut Random, kinds: Kinds) {
    let mode = if kinds == Kinds::All { *random.choose(MODES) } else { *random.choose(&[&0o644, &0o755]) };
    // A directory has to be entered by what walks it, unless that is the superuser.
    let mode = if path.is_dir() { mode | 0o700 } else { mode };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

fn special(path: &Path, kind: rustix::fs::FileType, device: u64) {
    // Only the superuser may make devices.
    let _ = rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o644.into(), device);
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        fs::remove_dir_all(path).expect("removed");
    } else {
        let _ = fs::remove_file(path);
    }
}
