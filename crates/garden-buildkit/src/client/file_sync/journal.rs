use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SyncError;
use super::wire::Packet;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;

/// How many syncs of a build are noted. Builds have a few; it is the daemon that asks for them.
const MOST_SYNCS: usize = 1000;

/// What a build's syncs have sent so far, and why one failed. Cheap to clone; all clones are the same journal.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<Arc<SyncRecord>>>>);

/// How far one sync is.
#[derive(Debug)]
pub struct SyncRecord {
    directory: String,
    is_of_ignore_file: bool,
    entries: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    requested_bytes: AtomicU64,
    is_listed: AtomicBool,
    end: Mutex<End>,
}

/// Whether a sync runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncState {
    /// It runs.
    Running,
    /// The daemon has all that it wanted.
    Finished,
    /// It failed.
    Failed,
}

#[derive(Debug)]
enum End {
    Open,
    Finished,
    /// The error, unless somebody took it.
    Failed(Option<SyncError>),
}

impl Journal {
    /// Returns all syncs in the order in which they began.
    pub fn syncs(&self) -> Vec<Arc<SyncRecord>> {
        lock(&self.0).clone()
    }

    /// Takes the error of the first sync that failed for a reason of its own, or else of the first that was
    /// broken off.
    pub fn take_failure(&self) -> Option<SyncError> {
        let syncs = self.syncs();
        let own = syncs.iter().find_map(|sync| sync.take_failure(SyncError::began_here));
        own.or_else(|| syncs.iter().find_map(|sync| sync.take_failure(|_| true)))
    }

    /// Notes that a sync of the whole of `directory` begins.
    pub fn begin(&self, directory: &str) -> Arc<SyncRecord> {
        self.begin_following(directory, &[])
    }

    /// Notes that a sync of `directory` begins, of what the paths `follow` reach; without any, of the whole.
    pub(crate) fn begin_following(&self, directory: &str, follow: &[String]) -> Arc<SyncRecord> {
        let record = Arc::new(SyncRecord::new(directory, follow));
        let mut syncs = lock(&self.0);
        if syncs.len() < MOST_SYNCS {
            syncs.push(Arc::clone(&record));
        }
        record
    }
}

impl SyncRecord {
    fn new(directory: &str, follow: &[String]) -> Self {
        let zero = AtomicU64::default;
        let end = Mutex::new(End::Open);
        Self {
            directory: directory.to_owned(),
            is_of_ignore_file: follow == [".dockerignore"],
            entries: zero(),
            files: zero(),
            bytes: zero(),
            requested_bytes: zero(),
            is_listed: AtomicBool::new(false),
            end,
        }
    }

    /// Returns the name by which the daemon knows the directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Whether only the directory's ignore file was asked for, as the frontend does before it asks for a named context.
    /// Source: `BuildKit`, `frontend/dockerui/namedcontext.go`, `load`.
    pub fn is_of_ignore_file(&self) -> bool {
        self.is_of_ignore_file
    }

    /// Returns how many entries were listed.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Returns how many files were sent to their end.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Returns how many bytes of file content were sent.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns how many bytes the files have that the daemon has asked for so far.
    pub fn requested_bytes(&self) -> u64 {
        self.requested_bytes.load(Ordering::Relaxed)
    }

    /// Whether all entries were listed. The daemon asks for files while it reads the list, so not much is asked for after that.
    pub fn is_listed(&self) -> bool {
        self.is_listed.load(Ordering::Relaxed)
    }

    /// Returns whether the sync runs.
    pub fn state(&self) -> SyncState {
        match &*lock(&self.end) {
            End::Open => SyncState::Running,
            End::Finished => SyncState::Finished,
            End::Failed(_) => SyncState::Failed,
        }
    }

    /// Counts a file of `bytes` that the daemon asks for.
    pub(crate) fn requested(&self, bytes: u64) {
        self.requested_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a packet that goes to the daemon.
    pub(crate) fn sent(&self, packet: &Packet) {
        let (counter, amount) = match packet.r#type() {
            PacketType::PacketStat if packet.stat.is_some() => (&self.entries, 1),
            PacketType::PacketStat => return self.is_listed.store(true, Ordering::Relaxed),
            PacketType::PacketData if packet.data.is_empty() => (&self.files, 1),
            PacketType::PacketData => (&self.bytes, packet.data.len() as u64),
            _ => return,
        };
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn finish(&self) {
        let mut end = lock(&self.end);
        if matches!(*end, End::Open) {
            *end = End::Finished;
        }
    }

    /// Notes why the sync failed. Only the first reason counts; what follows is its consequence.
    pub(super) fn fail(&self, error: SyncError) -> bool {
        let mut end = lock(&self.end);
        let is_first = matches!(*end, End::Open);
        if is_first {
            *end = End::Failed(Some(error));
        }
        is_first
    }

    /// Returns what `read` makes of the error, if there is one and nobody has taken it.
    pub(super) fn failure<T>(&self, read: impl FnOnce(&SyncError) -> T) -> Option<T> {
        match &*lock(&self.end) {
            End::Failed(Some(error)) => Some(read(error)),
            _ => None,
        }
    }

    fn take_failure(&self, which: impl FnOnce(&SyncError) -> bool) -> Option<SyncError> {
        match &mut *lock(&self.end) {
            End::Failed(error) => error.take_if(|error| which(error)),
            _ => None,
        }
    }
}

/// Whoever panicked while holding a lock left nothing half done here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_of_our_own_counts_and_can_be_taken_once() {
        let journal = Journal::default();
        let (one, two) = (journal.begin("one"), journal.begin("two"));
        assert!(one.fail(SyncError::Aborted("one".to_owned())));
        assert!(two.fail(SyncError::Panicked));
        assert!(!two.fail(SyncError::Aborted("two".to_owned())));
        assert!(matches!(journal.take_failure(), Some(SyncError::Panicked)));
        assert!(matches!(journal.take_failure(), Some(SyncError::Aborted(_))));
        assert!(journal.take_failure().is_none());
        assert_eq!(two.state(), SyncState::Failed);
    }
}
