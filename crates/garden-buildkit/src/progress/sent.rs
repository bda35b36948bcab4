//! What was sent of a directory.

use std::fmt;
use std::sync::Arc;

use crate::client::CONTEXT;
use crate::client::file_sync::{Journal, SyncRecord, SyncState};

/// The syncs of one directory of the session.
pub(super) struct Sent(Vec<Arc<SyncRecord>>);

impl Sent {
    /// Looks into `journal` for what was sent of `directory`.
    pub(super) fn of(journal: &Journal, directory: &str) -> Self {
        let mut syncs = journal.syncs();
        // That of a named context's ignore file is a step of its own.
        syncs.retain(|sync| {
            sync.directory() == directory && (directory == CONTEXT || !sync.is_of_ignore_file())
        });
        Self(syncs)
    }

    /// Whether the daemon has all that it wanted.
    pub(super) fn is_complete(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|sync| sync.state() == SyncState::Finished)
    }

    /// Returns how many bytes were sent.
    pub(super) fn bytes(&self) -> u64 {
        self.sum(SyncRecord::bytes)
    }

    /// Returns how many bytes the daemon has asked for, which it does once it knows the whole list.
    pub(super) fn requested(&self) -> Option<u64> {
        let is_listed = self.0.iter().all(|sync| sync.is_listed());
        is_listed.then(|| self.sum(SyncRecord::requested_bytes))
    }

    fn sum(&self, of: impl Fn(&SyncRecord) -> u64) -> u64 {
        self.0.iter().fold(0, |sum, sync| sum.saturating_add(of(sync)))
    }
}

/// Reports how much of the directory the daemon did not have.
impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, entries) = (self.sum(SyncRecord::files), self.sum(SyncRecord::entries));
        write!(f, "sent {files} files ({} bytes) of a list of {entries} entries", self.bytes())
    }
}
