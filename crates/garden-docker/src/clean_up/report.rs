use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::KeptName;

/// What a clean-up of the daemon has done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DaemonCleanUpReport {
    /// Whether builds have kept the daemon busy all the time, so that nothing was removed. The next clean-up tries again.
    pub busy: bool,
    /// The names that it was made to forget.
    pub untagged: Vec<String>,
    /// The names that it was to forget, and did not. The next clean-up tries again.
    pub failed: Vec<FailedUntag>,
    /// The names that stay, and why.
    pub kept: BTreeMap<String, KeptName>,
    /// How many bytes the daemon stored before, in images and caches.
    pub stored_bytes_before: u64,
    /// How many it stores now. If somebody has built meanwhile, that is in it.
    pub stored_bytes_after: u64,
}

/// A name that a daemon did not forget.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FailedUntag {
    /// The name.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl DaemonCleanUpReport {
    /// Returns how many bytes there is more room; 0 if others have filled it again.
    pub fn freed_bytes(&self) -> u64 {
        self.stored_bytes_before.saturating_sub(self.stored_bytes_after)
    }
}

impl fmt::Display for DaemonCleanUpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.busy {
            return write!(f, "the Docker daemon had builds all the time, so nothing was removed from it");
        }
        writeln!(f, "names removed from the Docker daemon: {}", self.untagged.len())?;
        for FailedUntag { name, reason } in &self.failed {
            writeln!(f, "not removed: {name}: {reason}")?;
        }
        let (before, after) = (self.stored_bytes_before, self.stored_bytes_after);
        write!(f, "stored by the Docker daemon: {before} bytes before, {after} now")
    }
}
