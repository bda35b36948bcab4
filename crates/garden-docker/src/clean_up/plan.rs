//! Which names of images a daemon may forget, as a function from what it has to what goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use garden_build_core::{ImageReference, Version};
use serde::{Deserialize, Serialize};

/// What a clean-up of the daemon keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DaemonRules {
    /// The registry whose images are judged, as their names have it: a host, perhaps with a port.
    pub registry: String,
    /// The path below which images of it are judged; `None` for all of the registry. Others have theirs elsewhere, and a
    /// registry may deny what may not be read.
    pub namespace: Option<String>,
    /// Images that were built or named less than this long ago are kept: somebody may be about to push them.
    pub keep_younger_than: Duration,
    /// Records of `BuildKit`'s cache that were not used for this long are deleted; `None` leaves them to the daemon, which
    /// bounds its cache itself.
    pub caches_older_than: Option<Duration>,
}

/// What the registry says of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InRegistry {
    /// It has it.
    Exists,
    /// It does not have it.
    Missing,
    /// It could not be asked.
    Unknown,
}

/// Why a daemon does not forget the name of an image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum KeptName {
    /// Garden-build has not made it for this registry.
    Foreign,
    /// A container uses the image.
    InUse,
    /// It is younger than the rules allow.
    Young,
    /// The registry has it.
    InRegistry,
    /// The registry could not be asked for it.
    NotKnown,
}

impl fmt::Display for KeptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "not made by garden-build for this registry",
            Self::InUse => "used by a container",
            Self::Young => "young",
            Self::InRegistry => "in the registry",
            Self::NotKnown => "the registry could not be asked",
        })
    }
}

/// An image of the daemon's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DaemonImage {
    pub(super) id: String,
    /// Its names, with their tags.
    pub(super) names: Vec<String>,
    /// When it was built or named last, in seconds since 1970. A build that finds everything in its cache makes an old image,
    /// and one with a fixed time one from long ago: both are named when it ends.
    pub(super) touched: i64,
}

/// What is decided of every name that the daemon has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct UntagPlan {
    /// Which go.
    pub(super) untag: BTreeSet<String>,
    /// Which stay, and why.
    pub(super) kept: BTreeMap<String, KeptName>,
}

impl UntagPlan {
    /// Decides at the time `now`, in seconds since 1970. `in_use` are the identifiers of containers' images; `answers` are the
    /// registry's for each name that [`questions`] has.
    pub(super) fn new(
        images: &[DaemonImage],
        in_use: &BTreeSet<String>,
        answers: &BTreeMap<String, InRegistry>,
        rules: &DaemonRules,
        now: i64,
    ) -> Self {
        let mut plan = Self::default();
        for image in images {
            for name in &image.names {
                let kept = keep(image, name, in_use, rules, now).or_else(|| match answers.get(name) {
                    Some(InRegistry::Missing) => None,
                    Some(InRegistry::Exists) => Some(KeptName::InRegistry),
                    Some(InRegistry::Unknown) | None => Some(KeptName::NotKnown),
                });
                match kept {
                    Some(reason) => drop(plan.kept.insert(name.clone(), reason)),
                    None => drop(plan.untag.insert(name.clone())),
                }
            }
        }
        plan
    }
}

/// Returns the names that the registry has to be asked for: nothing else speaks for them.
pub(super) fn questions(
    images: &[DaemonImage],
    in_use: &BTreeSet<String>,
    rules: &DaemonRules,
    now: i64,
) -> BTreeSet<String> {
    let open = |image: &&DaemonImage, name: &&String| keep(image, name, in_use, rules, now).is_none();
    let names = images.iter().flat_map(|image| image.names.iter().map(move |name| (image, name)));
    names.filter(|(image, name)| open(image, name)).map(|(_, name)| name.clone()).collect()
}

/// Describes what speaks for a name, whatever the registry says.
fn keep(
    image: &DaemonImage,
    name: &str,
    in_use: &BTreeSet<String>,
    rules: &DaemonRules,
    now: i64,
) -> Option<KeptName> {
    let age = now.saturating_sub(image.touched);
    // A clock that was set back makes images from the future, whose age nobody knows.
    let young = age < 0 || u64::try_from(age).is_ok_and(|age| age < rules.keep_younger_than.as_secs());
    if !rules.concern(name) {
        Some(KeptName::Foreign)
    } else if in_use.contains(&image.id) {
        Some(KeptName::InUse)
    } else if young {
        Some(KeptName::Young)
    } else {
        None
    }
}

impl DaemonRules {
    /// Whether the name is one that garden-build has given to an image for the registry.
    fn concern(&self, name: &str) -> bool {
        let Ok(name) = name.parse::<ImageReference>() else { return false };
        let below = |namespace: &str| {
            let path = name.repository().strip_prefix(namespace);
            path.is_some_and(|path| path.starts_with('/'))
        };
        name.registry() == self.registry
            && self.namespace.as_deref().is_none_or(below)
            && name.digest().is_none()
            && name.tag().is_some_and(Version::is_version)
    }
}

#[cfg(test)]
mod tests;
