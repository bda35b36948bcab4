use std::collections::BTreeMap;

use garden_build_core::Digest;

use super::inventory::Repository;
use super::rules::{CleanUpRules, TagKind};

/// How the manifests of a repository hang together.
#[derive(Default, Debug)]
pub(crate) struct Links {
    /// What an index lists, as far as it is in the repository.
    children: BTreeMap<Digest, Vec<Digest>>,
    /// Which indexes list a manifest.
    indexes: BTreeMap<Digest, Vec<Digest>>,
    /// What says something about a manifest.
    referrers: BTreeMap<Digest, Vec<Digest>>,
}

impl Links {
    pub(crate) fn of(name: &str, repository: &Repository, rules: &CleanUpRules) -> Self {
        let mut links = Self::default();
        for (&digest, manifest) in &repository.manifests {
            for &child in &manifest.references.children {
                if repository.manifests.contains_key(&child) {
                    links.children.entry(digest).or_default().push(child);
                    links.indexes.entry(child).or_default().push(digest);
                }
            }
            if let Some(subject) = manifest.references.subject {
                links.referrers.entry(subject).or_default().push(digest);
            }
        }
        for (tag, stored) in &repository.tags {
            if let TagKind::About(subject) = rules.kind_of(name, tag)
                && repository.manifests.contains_key(&stored.digest)
            {
                links.referrers.entry(subject).or_default().push(stored.digest);
            }
        }
        links
    }

    /// Returns the manifests that an index lists.
    pub(crate) fn children(&self, index: Digest) -> &[Digest] {
        self.children.get(&index).map_or(&[], Vec::as_slice)
    }

    /// Returns the manifests that say something about `subject`.
    pub(crate) fn referrers(&self, subject: Digest) -> &[Digest] {
        self.referrers.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// Returns what refers to a manifest, and so has to be deleted before it.
    pub(crate) fn pointing_at(&self, digest: Digest) -> impl Iterator<Item = Digest> {
        let indexes = self.indexes.get(&digest).into_iter().flatten();
        indexes.chain(self.referrers(digest)).copied().filter(move |other| *other != digest)
    }
}
