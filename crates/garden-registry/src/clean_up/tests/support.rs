//! Registries made by hand.

use std::time::Duration;

use garden_build_core::Digest;
use jiff::Timestamp;

use crate::clean_up::{
    CleanUpPlan, CleanUpRules, ImagesInUse, Inventory, KeptBecause, References, StoredManifest, StoredTag,
};

/// The present.
pub(crate) const NOW: i64 = 1_000_000;
/// Long ago.
pub(crate) const OLD: i64 = 0;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A version of ours.
pub(crate) fn version(number: u32) -> String {
    format!("v-{number:020x}")
}

/// A registry in which every manifest takes 10 bytes, every configuration 100 and every layer 1000.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    pub(crate) inventory: Inventory,
    pub(crate) in_use: ImagesInUse,
    pub(crate) rules: CleanUpRules,
}

impl Registry {
    pub(crate) fn new() -> Self {
        let inventory = Inventory { read_at: at(NOW), ..Inventory::default() };
        let rules = CleanUpRules { keep_younger_than: Duration::from_secs(100), ..CleanUpRules::default() };
        Self { inventory, in_use: ImagesInUse::new(), rules }
    }

    /// Adds the manifest `name`, pushed long ago.
    pub(crate) fn manifest(&mut self, repository: &str, name: &str, references: References) {
        self.inventory.blobs.insert(digest(name), 10);
        if let Some(config) = references.config {
            self.inventory.blobs.insert(config, 100);
        }
        for layer in &references.layers {
            self.inventory.blobs.insert(*layer, 1000);
        }
        let manifest = StoredManifest { pushed: at(OLD), references };
        self.repository(repository).manifests.insert(digest(name), manifest);
    }

    /// Adds an image with a configuration of its own.
    pub(crate) fn image(&mut self, repository: &str, name: &str, layers: &[&str]) {
        let config = Some(digest(&format!("config of {name}")));
        let layers = layers.iter().map(|layer| digest(layer)).collect();
        self.manifest(repository, name, References { config, layers, ..References::default() });
    }

    pub(crate) fn index(&mut self, repository: &str, name: &str, children: &[&str]) {
        let children = children.iter().map(|child| digest(child)).collect();
        self.manifest(repository, name, References { children, ..References::default() });
    }

    /// Has the image `name` say something about `subject`.
    pub(crate) fn about(&mut self, repository: &str, name: &str, subject: &str) {
        self.image(repository, name, &[]);
        let manifests = &mut self.repository(repository).manifests;
        manifests.get_mut(&digest(name)).expect("just added").references.subject = Some(digest(subject));
    }

    pub(crate) fn tag(&mut self, repository: &str, tag: &str, name: &str) {
        self.tag_at(repository, tag, name, OLD);
    }

    pub(crate) fn tag_at(&mut self, repository: &str, tag: &str, name: &str, pushed: i64) {
        let stored = StoredTag { digest: digest(name), pushed: at(pushed) };
        self.repository(repository).tags.insert(tag.to_owned(), stored);
    }

    pub(crate) fn repository(&mut self, name: &str) -> &mut crate::clean_up::Repository {
        self.inventory.repositories.entry(name.to_owned()).or_default()
    }

    pub(crate) fn plan(&self) -> CleanUpPlan {
        CleanUpPlan::new(&self.inventory, &self.in_use, &self.rules)
    }

    /// Whether the manifest `name` is deleted from a repository.
    pub(crate) fn deletes(&self, name: &str) -> bool {
        self.plan().deletions.iter().any(|deletion| deletion.digest == digest(name))
    }

    /// Why the manifest `name` is kept.
    pub(crate) fn reasons(&self, name: &str) -> Vec<KeptBecause> {
        let plan = self.plan();
        let kept = plan.kept.iter().find(|kept| kept.digest == digest(name));
        kept.map(|kept| kept.reasons.iter().cloned().collect()).unwrap_or_default()
    }
}
