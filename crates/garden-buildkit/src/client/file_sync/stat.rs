//! How an entry is described to the daemon: fsutil's `stat.go`, with the modes of Go's `io/fs`.
//!
//! Why: docs/decisions/39-times-carry-content.md

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use garden_build_core::Digest;

/// An entry of a tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// Its path, with slashes.
    pub path: Vec<u8>,
    /// Type and permissions, as Go's `fs.FileMode` has them.
    pub mode: u32,
    /// The user that it belongs to.
    pub uid: u32,
    /// The group that it belongs to.
    pub gid: u32,
    /// Its length in bytes.
    pub size: i64,
    /// When it was last modified, in nanoseconds since 1970.
    pub mod_time: i64,
    /// What a symbolic link leads to, or the path of the file that this is a hard link to.
    pub linkname: Vec<u8>,
    /// A device's major number.
    pub devmajor: i64,
    /// A device's minor number.
    pub devminor: i64,
    /// Extended attributes.
    pub xattrs: HashMap<String, Vec<u8>>,
}

/// Bits of Go's `fs.FileMode` above the permissions, which differ from those of the system.
pub(super) mod mode {
    pub(in super::super) const DIRECTORY: u32 = 1 << 31;
    pub(in super::super) const SYMLINK: u32 = 1 << 27;
    pub(in super::super) const DEVICE: u32 = 1 << 26;
    pub(in super::super) const NAMED_PIPE: u32 = 1 << 25;
    pub(in super::super) const SOCKET: u32 = 1 << 24;
    pub(in super::super) const SET_USER: u32 = 1 << 23;
    pub(in super::super) const SET_GROUP: u32 = 1 << 22;
    pub(in super::super) const CHARACTER_DEVICE: u32 = 1 << 21;
    pub(in super::super) const STICKY: u32 = 1 << 20;
    const IRREGULAR: u32 = 1 << 19;

    /// Go's `fs.ModeType`. What has none of these bits is an ordinary file.
    pub(in super::super) const TYPE: u32 =
        DIRECTORY | SYMLINK | NAMED_PIPE | SOCKET | DEVICE | CHARACTER_DEVICE | IRREGULAR;
}

/// Nanoseconds in a millisecond.
const MILLISECOND: i64 = 1_000_000;

/// Whether the daemon may ask for the content (`fileCanRequestData` in `send.go`).
pub(super) fn is_ordinary_file(stat: &Stat) -> bool {
    stat.mode & mode::TYPE == 0
}

/// Returns `permissions`, the lowest twelve bits of a Unix mode, as Go has them.
pub(super) fn permissions(permissions: u32) -> u32 {
    let flags = [(0o4000, mode::SET_USER), (0o2000, mode::SET_GROUP), (0o1000, mode::STICKY)];
    let set = flags.iter().filter(|(bit, _)| permissions & bit != 0);
    set.fold(permissions & 0o777, |mode, (_, flag)| mode | flag)
}

pub(super) fn directory(path: Vec<u8>, mode: u32, modified: i64) -> Stat {
    Stat { path, mode: mode::DIRECTORY | permissions(mode), mod_time: modified, ..Stat::default() }
}

pub(super) fn file(path: Vec<u8>, mode: u32, size: u64, modified: i64) -> Stat {
    Stat { path, mode: permissions(mode), size: signed(size), mod_time: modified, ..Stat::default() }
}

/// The size of a link is the length of its target, as the system tells it. The daemon compares it.
pub(super) fn symlink(path: Vec<u8>, target: Vec<u8>, modified: i64) -> Stat {
    let size = signed(target.len() as u64);
    Stat { path, mode: mode::SYMLINK | 0o777, size, mod_time: modified, linkname: target, ..Stat::default() }
}

pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Returns `time` in nanoseconds since 1970.
pub(super) fn nanoseconds(time: SystemTime) -> i64 {
    let saturated = |nanoseconds: u128| i64::try_from(nanoseconds).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => saturated(after.as_nanos()),
        Err(before) => -saturated(before.duration().as_nanos()),
    }
}

/// Returns `time` true to the millisecond, with the six digits below taken from the content's digest.
///
/// The daemon takes a file for unchanged if its size, modification time and mode are. With this time, it
/// does not do so if the content was changed and the time set back, and still a tool in the build that
/// compares times sees real ones.
pub(super) fn content_time(time: SystemTime, digest: &Digest) -> i64 {
    let [a, b, c, d, ..] = *digest.as_bytes();
    let digits = i64::from(u32::from_be_bytes([a, b, c, d])) % MILLISECOND;
    let milliseconds = nanoseconds(time).div_euclid(MILLISECOND);
    milliseconds.saturating_mul(MILLISECOND).saturating_add(digits)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_content_time_is_true_to_the_millisecond_and_differs_with_the_content() {
        let one = Digest::of(b"one");
        for nanosecond in [0, 1, 999_999, 123_456_789_987_654_321] {
            let real = UNIX_EPOCH + Duration::from_nanos(nanosecond);
            let sent = content_time(real, &one);
            assert_eq!(sent / MILLISECOND, nanoseconds(real) / MILLISECOND);
            assert_ne!(sent, content_time(real, &Digest::of(b"two")));
        }
        // Before 1970, too, the time is rounded down.
        let before = content_time(UNIX_EPOCH - Duration::from_nanos(1), &one);
        assert!((-MILLISECOND..0).contains(&before), "{before}");
        let same = |nanoseconds| content_time(UNIX_EPOCH + Duration::from_nanos(nanoseconds), &one);
        assert_eq!(same(5_000_001), same(5_999_999));
    }
}
