use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::Digest;

use super::deletion::Deletion;
use super::inventory::{Inventory, References};

/// How much storage deletions free.
#[derive(Debug)]
pub(crate) struct Bytes<'a> {
    pub(crate) freed: u64,
    pub(crate) leftover: u64,
    own: BTreeMap<(&'a str, Digest), u64>,
}

impl<'a> Bytes<'a> {
    /// Counts as the registry's garbage collection does: it keeps a blob that any manifest of any repository names.
    ///
    /// Source: distribution, `registry/storage/garbagecollect.go`, function `MarkAndSweep`.
    pub(crate) fn count(inventory: &'a Inventory, deletions: &[Deletion]) -> Self {
        let goes: BTreeSet<(&str, Digest)> =
            deletions.iter().map(|deletion| (deletion.repository.as_str(), deletion.digest)).collect();
        let (mut named_by_kept, mut named_by_deleted) = (BTreeSet::new(), BTreeSet::new());
        let mut only_holder: BTreeMap<Digest, Option<(&str, Digest)>> = BTreeMap::new();
        for (name, repository) in &inventory.repositories {
            for (&digest, manifest) in &repository.manifests {
                let manifest_id = (name.as_str(), digest);
                let named =
                    if goes.contains(&manifest_id) { &mut named_by_deleted } else { &mut named_by_kept };
                named.extend(blobs_of(digest, &manifest.references));
                // An index does not hold the bytes of a manifest that is in the repository itself.
                let held = blobs_of(digest, &manifest.references)
                    .filter(|blob| *blob == digest || !repository.manifests.contains_key(blob));
                for blob in held {
                    let holder = only_holder.entry(blob).or_insert(Some(manifest_id));
                    *holder = holder.filter(|holder| *holder == manifest_id);
                }
            }
        }
        let size = |blob: &Digest| inventory.blobs.get(blob).copied().unwrap_or(0);
        let everything_is_understood =
            inventory.repositories.values().all(|repository| repository.unreadable.is_empty());
        let is_leftover =
            |blob: &&Digest| !named_by_kept.contains(*blob) && !named_by_deleted.contains(*blob);
        let leftovers = inventory.blobs.keys().filter(is_leftover).filter(|_| everything_is_understood);
        let mut own = BTreeMap::new();
        for (blob, holder) in &only_holder {
            if let Some(holder) = holder.filter(|_| !named_by_kept.contains(blob)) {
                let own: &mut u64 = own.entry(holder).or_default();
                *own = own.saturating_add(size(blob));
            }
        }
        Self {
            freed: total(named_by_deleted.difference(&named_by_kept).map(size)),
            leftover: total(leftovers.map(size)),
            own,
        }
    }

    /// Returns how much nothing but this manifest holds.
    pub(crate) fn own(&self, repository: &'a str, digest: Digest) -> u64 {
        self.own.get(&(repository, digest)).copied().unwrap_or(0)
    }
}

/// Adds sizes up, which are whatever the registry says: they need not fit on any disk.
pub(crate) fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// The manifest, which is a blob itself, and all that it names. What it says something about is not among that.
fn blobs_of(digest: Digest, references: &References) -> impl Iterator<Item = Digest> {
    std::iter::once(digest).chain(references.children.iter().copied()).chain(references.blobs())
}
