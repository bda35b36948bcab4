//! By what a file is known to be unchanged, and when that can be trusted.
//!
//! Why: docs/decisions/20-stamps-have-to-settle.md

use std::time::{SystemTime, UNIX_EPOCH};

use crate::context::{Attributes, OpenDirectory};

/// What the operating system knows of a file without reading it. Whoever changes the content changes the time
/// of change (`ctime`), too, which no program can set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Stamp {
    pub(in super::super) device: u64,
    pub(in super::super) inode: u64,
    pub(in super::super) size: u64,
    /// Times in nanoseconds since 1970.
    pub(in super::super) modified: i64,
    pub(in super::super) changed: i64,
}

impl Stamp {
    /// Returns the stamp, unless the operating system does not tell when a file was changed.
    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "there is nothing to return elsewhere")]
    pub(in super::super) fn of(file: &Attributes) -> Option<Self> {
        let Attributes { device, inode, size, modified, changed, .. } = *file;
        Some(Self { device, inode, size, modified: nanoseconds(modified), changed })
    }

    #[cfg(not(unix))]
    pub(in super::super) fn of(_: &Attributes) -> Option<Self> {
        None
    }
}

/// How much older than the present a file's last change has to be for the next one to have another time: the
/// coarsest times that a file system keeps (2 s, FAT), and a tick of the kernel's clock (at most 10 ms).
const SETTLED: i64 = 2_100_000_000;

/// Whose clock the times of a file system are taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Clock {
    /// This machine's. `any_device`: the file system tells other devices for files than for directories.
    Ours { any_device: bool },
    /// Another machine's. All that is known of it is that it shows no less than the latest change on this device.
    Theirs,
}

impl Clock {
    /// Asks the file system in which `directory` lies.
    ///
    /// Source of the numbers: Linux, `include/uapi/linux/magic.h`; ZFS's from `OpenZFS`, `include/sys/fs/zfs.h`.
    #[cfg(target_os = "linux")]
    pub(in super::super) fn of(directory: &OpenDirectory) -> Self {
        const OVERLAY: u32 = 0x794c_7630;
        const LOCAL: [u32; 10] = [
            0xef53,      // ext2, ext3, ext4
            0x5846_5342, // XFS
            0x9123_683e, // Btrfs
            0x0102_1994, // tmpfs
            0x8584_58f6, // ramfs
            0xf2f5_2010, // F2FS
            0x2fc1_2fc1, // ZFS
            0xca45_1a4e, // bcachefs
            0x4d44,      // FAT
            0x2011_bab0, // exFAT
        ];
        // The type of the field differs between architectures; the numbers have 32 bits.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
        let kind = rustix::fs::fstatfs(directory).map(|found| found.f_type as u32);
        match kind {
            Ok(OVERLAY) => Self::Ours { any_device: true },
            Ok(kind) if LOCAL.contains(&kind) => Self::Ours { any_device: false },
            _ => Self::Theirs,
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(in super::super) fn of(_: &OpenDirectory) -> Self {
        Self::Theirs
    }

    /// Whether it is known that another machine may have to be asked for what lies in `directory`.
    pub(super) fn is_elsewhere(directory: &OpenDirectory) -> bool {
        cfg!(target_os = "linux") && Self::of(directory) == Self::Theirs
    }

    /// Whether a file whose reading began at `now` cannot have been changed since without its `stamp` being
    /// another. `device` is that of its directory, on which the latest change known was at `latest`.
    pub(in super::super) fn trusts(self, stamp: &Stamp, device: u64, now: i64, latest: i64) -> bool {
        let (is_known, present) = match self {
            Self::Ours { any_device } => (any_device || stamp.device == device, now),
            Self::Theirs => (stamp.device == device, latest.min(now)),
        };
        is_known && stamp.changed < present.saturating_sub(SETTLED)
    }
}

/// This machine's time in nanoseconds since 1970; before that, nothing is trusted.
pub(in super::super) fn now() -> i64 {
    nanoseconds(SystemTime::now()).max(0)
}

fn nanoseconds(time: SystemTime) -> i64 {
    let count = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or_default();
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -count(before.duration()), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn only_what_was_changed_long_enough_ago_by_the_right_clock_is_trusted() {
        let stamp = Stamp { device: 1, inode: 2, size: 3, modified: 0, changed: 100 * SECOND };
        let ours = Clock::Ours { any_device: false };
        for (clock, device, now, latest, expected) in [
            (ours, 1, 103, 0, true),
            (ours, 1, 102, 0, false),
            // The clock was set back, or the file comes from the future.
            (ours, 1, 90, 0, false),
            (ours, 7, 103, 0, false),
            (Clock::Ours { any_device: true }, 7, 103, 0, true),
            (Clock::Theirs, 1, 200, 101, false),
            (Clock::Theirs, 1, 200, 103, true),
            (Clock::Theirs, 7, 200, 103, false),
        ] {
            let trusted = clock.trusts(&stamp, device, now * SECOND, latest * SECOND);
            assert_eq!(trusted, expected, "{clock:?} {device} {now} {latest}");
        }
    }
}
