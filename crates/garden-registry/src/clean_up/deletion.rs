use std::collections::BTreeSet;

use garden_build_core::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A manifest that is deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Deletion {
    /// The repository.
    pub repository: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The tags that go with it.
    pub tags: Vec<String>,
    /// When it was pushed last.
    pub pushed: Timestamp,
    /// How many bytes of storage nothing but this manifest needs. What it shares, with other deletions too, counts
    /// for the whole plan only.
    pub own_bytes: u64,
    /// What refers to it and is deleted as well, which has to go before.
    #[serde(skip)]
    pub(crate) after: BTreeSet<Digest>,
}
