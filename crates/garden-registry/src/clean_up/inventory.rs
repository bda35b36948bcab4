use std::collections::BTreeMap;

use garden_build_core::Digest;
use jiff::Timestamp;

use super::bytes::total;
use crate::{Manifest, ManifestKind};

/// What a registry holds, as far as a clean-up has to know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// When it was begun to be read, by the registry's own clock, which is also that of all times in it.
    pub read_at: Timestamp,
    /// The repositories, by name.
    pub repositories: BTreeMap<String, Repository>,
    /// The size of every blob that is stored, in bytes. Manifests are blobs, too, and repositories share them.
    pub blobs: BTreeMap<Digest, u64>,
}

impl Inventory {
    /// Returns how many bytes of storage all blobs take.
    pub fn stored_bytes(&self) -> u64 {
        total(self.blobs.values().copied())
    }
}

/// What a repository holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repository {
    /// What each tag stands for.
    pub tags: BTreeMap<String, StoredTag>,
    /// All manifests that are understood, with a tag or without.
    pub manifests: BTreeMap<Digest, StoredManifest>,
    /// What in the repository is not understood, in words for people. It may refer to anything.
    pub unreadable: Vec<String>,
}

/// A tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredTag {
    /// The manifest that it stands for.
    pub digest: Digest,
    /// When it was pushed last.
    pub pushed: Timestamp,
}

/// A manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredManifest {
    /// When it was pushed last, under whatever name.
    pub pushed: Timestamp,
    /// What it needs.
    pub references: References,
}

/// What a manifest refers to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct References {
    /// What an index lists: manifests, or blobs if it is a cache in the older form of BuildKit's.
    pub children: Vec<Digest>,
    /// The image's configuration, whose digest is what Docker calls the image's id.
    pub config: Option<Digest>,
    /// The image's layers.
    pub layers: Vec<Digest>,
    /// The manifest that this one says something about.
    pub subject: Option<Digest>,
}

impl References {
    /// Returns what `manifest` refers to; `None` if it is not understood.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        let digests = |descriptors: &[crate::Descriptor]| descriptors.iter().map(|it| it.digest).collect();
        (manifest.kind() != ManifestKind::Unknown).then(|| Self {
            children: digests(manifest.children()),
            config: manifest.config().map(|config| config.digest),
            layers: digests(manifest.layers()),
            subject: manifest.subject().map(|subject| subject.digest),
        })
    }

    /// Returns the configuration and the layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.config.into_iter().chain(self.layers.iter().copied())
    }
}
