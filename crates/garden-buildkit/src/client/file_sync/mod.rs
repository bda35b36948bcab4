//! Sends directories to the daemon, as far as it does not have them: our side of `BuildKit`'s `FileSync`.
//!
//! The daemon calls us, over the session's tunnel, once for each directory that a build needs:
//!
//! 1. It names the directory and what of it is wanted (`SyncRequest`); a [`Source`] stands for each name.
//! 2. We list what is wanted, packet by packet. The daemon compares the list with what it kept of an earlier
//!    build, and meanwhile asks for those files whose size, modification time or mode differ.
//! 3. We send these files in pieces, several at a time. Whatever goes wrong ends the sync with an error:
//!    a file that cannot be read, or has changed, never becomes a short file.
//! 4. When the daemon has what it wants it says so, and we end.
//!
//! `send` does this over any pair of packet streams, and `FileSyncService` over gRPC. A [`Journal`]
//! tells meanwhile how far each sync is, and afterwards why one failed in our own words, since the daemon only
//! rephrases what we have sent.
//!
//! Sources: `BuildKit` v0.26.3, `session/filesync/filesync.go` and `diffcopy.go`; fsutil at 586307ad452f,
//! which that requires: `send.go`, `receive.go`, `filter.go`, `fs.go`, `stat.go`, `types/wire.proto`.

pub(crate) mod batch;
mod error;
mod follow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod journal;
mod local_directory;
mod memory_files;
mod request;
mod scanned_tree;
mod sender;
mod service;
mod source;
mod stat;
mod wire;

pub use error::SyncError;
pub use journal::{Journal, SyncRecord, SyncState};
pub use local_directory::LocalDirectory;
pub use memory_files::MemoryFiles;
pub use scanned_tree::ScannedTree;
pub use source::{Content, Listed, Source, Wanted};
pub use stat::Stat;

/// The conversation itself, for the tests of this crate, which take the daemon's side. It is not part of the promised API.
#[doc(hidden)]
pub mod protocol {
    pub use super::request::{FilterRequest, SyncRequest};
    pub use super::sender::{Outgoing, send};
    pub use super::service::FileSyncService;
    pub use super::wire::{Packet, Stat};
}
