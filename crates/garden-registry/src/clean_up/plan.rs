use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bytes::Bytes;
use super::deletion::Deletion;
use super::images_in_use::ImagesInUse;
use super::inventory::{Inventory, Repository};
use super::links::Links;
use super::reasons::KeptBecause;
use super::rules::{CleanUpRules, TagKind};

/// What a clean-up deletes, what it keeps and why.
///
/// Decided by digest: a manifest goes only if nothing keeps it under any of its tags, as registries delete all tags
/// of a digest with it.
///
/// The default decides nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CleanUpPlan {
    /// What is deleted, by repository.
    pub deletions: Vec<Deletion>,
    /// What is kept, by repository.
    pub kept: Vec<Kept>,
    /// What is not understood. Its whole repository is kept.
    pub unreadable: Vec<UnreadableContent>,
    /// How many bytes of storage belong to what is deleted and to nothing that is kept, in any repository.
    pub freed_bytes: u64,
    /// How many bytes of storage belong to no manifest even now, since a push or a clean-up was interrupted. The
    /// registry's garbage collection frees them as well. Not counted, thus 0, while something is unreadable.
    pub leftover_bytes: u64,
}

/// A manifest that is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Kept {
    /// The repository.
    pub repository: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it was pushed last.
    pub pushed: Timestamp,
    /// Why it is kept; at least one reason.
    pub reasons: BTreeSet<KeptBecause>,
}

/// Something that a clean-up does not understand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UnreadableContent {
    /// The repository.
    pub repository: String,
    /// What it is, in words for people.
    pub what: String,
}

type Reasons = BTreeMap<Digest, BTreeSet<KeptBecause>>;

impl CleanUpPlan {
    /// Decides what to delete.
    pub fn new(inventory: &Inventory, in_use: &ImagesInUse, rules: &CleanUpRules) -> Self {
        Self::decide(inventory, in_use, rules, |_, _| true)
    }

    /// Decides anew, as things may have changed, but deletes nothing that this plan does not delete.
    pub fn again(&self, inventory: &Inventory, in_use: &ImagesInUse, rules: &CleanUpRules) -> Self {
        let planned: BTreeSet<(&str, Digest)> =
            self.deletions.iter().map(|deletion| (deletion.repository.as_str(), deletion.digest)).collect();
        // Not by striking out deletions afterwards: a new index may need what the old plan deletes.
        Self::decide(inventory, in_use, rules, |repository, digest| planned.contains(&(repository, digest)))
    }

    fn decide(
        inventory: &Inventory,
        in_use: &ImagesInUse,
        rules: &CleanUpRules,
        may_go: impl Fn(&str, Digest) -> bool,
    ) -> Self {
        let (mut deletions, mut kept, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for (name, repository) in &inventory.repositories {
            let links = Links::of(name, repository, rules);
            let own = Own { name, repository, now: inventory.read_at, in_use, rules };
            let mut reasons = own.reasons();
            for &digest in repository.manifests.keys().filter(|digest| !may_go(name, **digest)) {
                reasons.entry(digest).or_insert_with(|| BTreeSet::from([KeptBecause::NotPlanned]));
            }
            keep_what_hangs_on(&mut reasons, &links);

            let mut tags: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
            for (tag, stored) in &repository.tags {
                tags.entry(stored.digest).or_default().push(tag.clone());
            }
            let goes = |digest: &Digest| !reasons.contains_key(digest);
            for (&digest, manifest) in &repository.manifests {
                let (repository, tags) = (name.clone(), tags.remove(&digest).unwrap_or_default());
                let pushed = manifest.pushed;
                if let Some(reasons) = reasons.get(&digest) {
                    let reasons = reasons.clone();
                    kept.push(Kept { repository, digest, tags, pushed, reasons });
                } else {
                    let after = links.pointing_at(digest).filter(goes).collect();
                    deletions.push(Deletion { repository, digest, tags, pushed, own_bytes: 0, after });
                }
            }
            let not_understood = repository.unreadable.iter();
            unreadable.extend(
                not_understood.map(|what| UnreadableContent { repository: name.clone(), what: what.clone() }),
            );
        }
        let bytes = Bytes::count(inventory, &deletions);
        for deletion in &mut deletions {
            deletion.own_bytes = bytes.own(&deletion.repository, deletion.digest);
        }
        Self { deletions, kept, unreadable, freed_bytes: bytes.freed, leftover_bytes: bytes.leftover }
    }
}

/// What a repository keeps for its own sake.
struct Own<'a> {
    name: &'a str,
    repository: &'a Repository,
    now: Timestamp,
    in_use: &'a ImagesInUse,
    rules: &'a CleanUpRules,
}

impl Own<'_> {
    fn reasons(&self) -> Reasons {
        let mut reasons = Reasons::new();
        for (tag, stored) in &self.repository.tags {
            let because = self.of_tag(tag, stored.digest, stored.pushed);
            reasons.entry(stored.digest).or_default().extend(because);
        }
        for &digest in self.repository.manifests.keys() {
            reasons.entry(digest).or_default().extend(self.of_manifest(digest));
        }
        // A tag may stand for a manifest that is gone.
        reasons
            .retain(|digest, because| !because.is_empty() && self.repository.manifests.contains_key(digest));
        reasons
    }

    fn of_tag(&self, tag: &str, digest: Digest, pushed: Timestamp) -> Vec<KeptBecause> {
        let kind = match self.rules.kind_of(self.name, tag) {
            TagKind::Cache if self.rules.keeps_cache(pushed, self.now) => {
                Some(KeptBecause::Cache { tag: tag.to_owned() })
            }
            TagKind::Foreign => Some(KeptBecause::ForeignTag { tag: tag.to_owned() }),
            // About what is elsewhere, if it is anywhere.
            TagKind::About(subject)
                if !self.repository.manifests.contains_key(&subject) || subject == digest =>
            {
                Some(KeptBecause::ForeignTag { tag: tag.to_owned() })
            }
            TagKind::Version | TagKind::Cache | TagKind::About(_) => None,
        };
        let young = self.rules.is_young(pushed, self.now).then_some(KeptBecause::Young);
        kind.into_iter().chain(young).chain(in_use(self.in_use.users_of_tag(self.name, tag))).collect()
    }

    fn of_manifest(&self, digest: Digest) -> Vec<KeptBecause> {
        let Some(manifest) = self.repository.manifests.get(&digest) else { return Vec::new() };
        let unreadable =
            (!self.repository.unreadable.is_empty()).then_some(KeptBecause::UnreadableRepository);
        let foreign = self.is_foreign().then_some(KeptBecause::ForeignRepository);
        let young = self.rules.is_young(manifest.pushed, self.now).then_some(KeptBecause::Young);
        let ids = std::iter::once(digest).chain(manifest.references.config);
        let users = in_use(ids.flat_map(|id| self.in_use.users_of_digest(id)));
        [unreadable, foreign, young, users].into_iter().flatten().collect()
    }

    /// Whether there are tags, and not one is ours.
    fn is_foreign(&self) -> bool {
        let mut kinds = self.repository.tags.keys().map(|tag| self.rules.kind_of(self.name, tag));
        !self.repository.tags.is_empty()
            && kinds.all(|kind| matches!(kind, TagKind::Foreign | TagKind::About(_)))
    }
}

fn in_use<'a>(users: impl Iterator<Item = &'a str>) -> Option<KeptBecause> {
    let users: BTreeSet<&str> = users.collect();
    let by = (*users.first()?).to_owned();
    Some(KeptBecause::InUse { by, others: users.len() - 1 })
}

/// Keeps also what kept manifests list, and what says something about them.
fn keep_what_hangs_on(reasons: &mut Reasons, links: &Links) {
    let mut to_follow: Vec<Digest> = reasons.keys().copied().collect();
    while let Some(digest) = to_follow.pop() {
        let children =
            links.children(digest).iter().map(|&child| (child, KeptBecause::PartOf { index: digest }));
        let referrers = links.referrers(digest).iter();
        let referrers = referrers.map(|&other| (other, KeptBecause::About { subject: digest }));
        for (other, because) in children.chain(referrers) {
            if let Entry::Vacant(not_yet_kept) = reasons.entry(other) {
                not_yet_kept.insert(BTreeSet::from([because]));
                to_follow.push(other);
            }
        }
    }
}
