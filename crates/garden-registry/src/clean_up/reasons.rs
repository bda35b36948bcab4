use std::fmt;

use garden_build_core::Digest;
use serde::{Deserialize, Serialize};

/// Why an image is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum KeptBecause {
    /// Something may still run it.
    InUse {
        /// What that is, such as `CronJob my-project/nightly`: the first of all, in the order of their names.
        by: String,
        /// How many others there are.
        others: usize,
    },
    /// It was pushed a short time ago, or dated in the future.
    Young,
    /// It is a build cache.
    Cache {
        /// The cache's tag.
        tag: String,
    },
    /// It has a tag that garden-build does not give.
    ForeignTag {
        /// The tag.
        tag: String,
    },
    /// Nothing in its repository was built by garden-build.
    ForeignRepository,
    /// Something in its repository is not understood, and may refer to it.
    UnreadableRepository,
    /// An index that is kept lists it.
    PartOf {
        /// The index.
        index: Digest,
    },
    /// It says something about a manifest that is kept, as a signature does.
    About {
        /// That manifest.
        subject: Digest,
    },
    /// It was kept by the plan that this one repeats, or pushed after it.
    NotPlanned,
}

impl fmt::Display for KeptBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { by, others: 0 } => write!(f, "used by {by}"),
            Self::InUse { by, others } => write!(f, "used by {by} and {others} more"),
            Self::Young => f.write_str("pushed a short time ago"),
            Self::Cache { tag } => write!(f, "the build cache `{tag}`"),
            Self::ForeignTag { tag } => write!(f, "`{tag}` is not a tag of garden-build"),
            Self::ForeignRepository => f.write_str("a repository of somebody else"),
            Self::UnreadableRepository => f.write_str("something in its repository cannot be read"),
            Self::PartOf { index } => write!(f, "part of {index}"),
            Self::About { subject } => write!(f, "about {subject}"),
            Self::NotPlanned => f.write_str("was not planned to be deleted"),
        }
    }
}
