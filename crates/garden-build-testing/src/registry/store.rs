//! What a registry has. Nothing here knows of HTTP.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use garden_build_core::Digest;
use serde_json::Value;

/// A manifest, or a list of manifests, as it was pushed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Manifest {
    /// Its media type, such as `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    /// Its bytes, of which its digest is made.
    pub bytes: Bytes,
}

impl Manifest {
    /// Describes a manifest to be pushed.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { media_type: media_type.into(), bytes: bytes.into() }
    }

    /// Returns its digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Returns what it says; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Returns the digests that stand at this place of its JSON, or of each element of a list there.
    fn digests_at(&self, field: &str) -> Vec<String> {
        let at = |value: &Value| value["digest"].as_str().map(str::to_owned);
        match &self.json()[field] {
            Value::Array(all) => all.iter().filter_map(at).collect(),
            one => at(one).into_iter().collect(),
        }
    }

    /// Returns the digest of the manifest that it is about.
    pub(crate) fn subject(&self) -> Option<String> {
        self.digests_at("subject").pop()
    }
}

/// What is kept of a repository.
#[derive(Debug, Default)]
struct Repository {
    manifests: BTreeMap<Digest, Manifest>,
    tags: BTreeMap<String, Digest>,
    /// Which blobs there are. A blob that another repository has is not to be seen in this one.
    blobs: BTreeSet<Digest>,
}

/// An upload under way.
#[derive(Debug)]
struct Upload {
    repository: String,
    bytes: Vec<u8>,
}

/// All that a registry has.
#[derive(Debug, Default)]
pub(crate) struct Store {
    repositories: BTreeMap<String, Repository>,
    blobs: BTreeMap<Digest, Bytes>,
    uploads: BTreeMap<String, Upload>,
    uploads_begun: u64,
}

impl Store {
    pub(crate) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.repositories.keys().map(String::as_str)
    }

    /// Returns the tags of a repository, in order; `None` if there is no such repository.
    pub(crate) fn tags(&self, repository: &str) -> Option<impl Iterator<Item = &str>> {
        Some(self.repositories.get(repository)?.tags.keys().map(String::as_str))
    }

    /// Returns the manifest that `reference`, a tag or a digest, stands for.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Option<&Manifest> {
        let repository = self.repositories.get(repository)?;
        let digest = match reference.parse() {
            Ok(digest) => digest,
            Err(_) => *repository.tags.get(reference)?,
        };
        repository.manifests.get(&digest)
    }

    /// Keeps a manifest; `tag` stands for it from now on.
    pub(crate) fn put_manifest(&mut self, repository: &str, tag: Option<&str>, manifest: Manifest) -> Digest {
        let digest = manifest.digest();
        let repository = self.repositories.entry(repository.to_owned()).or_default();
        repository.manifests.insert(digest, manifest);
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), digest);
        }
        digest
    }

    /// Returns the first digest that a manifest names and this repository does not have.
    pub(crate) fn missing(&self, repository: &str, manifest: &Manifest) -> Option<String> {
        let has_blob = |digest: &String| {
            digest.parse().is_ok_and(|digest: Digest| self.blob(repository, digest).is_some())
        };
        let blobs = [manifest.digests_at("config"), manifest.digests_at("layers")].concat();
        let mut manifests = manifest.digests_at("manifests").into_iter();
        let missing = manifests.find(|digest| self.manifest(repository, digest).is_none());
        missing.or_else(|| blobs.into_iter().find(|digest| !has_blob(digest)))
    }

    /// Removes a tag or, by digest, a manifest with all its tags. Returns whether it was there.
    pub(crate) fn remove_manifest(&mut self, repository: &str, reference: &str) -> bool {
        let Some(repository) = self.repositories.get_mut(repository) else { return false };
        let Ok(digest) = reference.parse::<Digest>() else {
            return repository.tags.remove(reference).is_some();
        };
        repository.tags.retain(|_, tagged| *tagged != digest);
        repository.manifests.remove(&digest).is_some()
    }

    /// Returns the manifests that are about the one of digest `subject`.
    pub(crate) fn referrers(&self, repository: &str, subject: &str) -> Vec<&Manifest> {
        let manifests = self.repositories.get(repository).into_iter().flat_map(|it| it.manifests.values());
        manifests.filter(|manifest| manifest.subject().as_deref() == Some(subject)).collect()
    }

    pub(crate) fn blob(&self, repository: &str, digest: Digest) -> Option<&Bytes> {
        let is_here = self.repositories.get(repository).is_some_and(|it| it.blobs.contains(&digest));
        self.blobs.get(&digest).filter(|_| is_here)
    }

    /// Returns a blob, whatever repository it is in.
    pub(crate) fn blob_anywhere(&self, digest: Digest) -> Option<&Bytes> {
        self.blobs.get(&digest)
    }

    pub(crate) fn put_blob(&mut self, repository: &str, bytes: Bytes) -> Digest {
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest, bytes);
        self.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest);
        digest
    }

    /// Shows a blob of the repository `from` in another one. Returns whether it was there.
    pub(crate) fn mount(&mut self, repository: &str, from: &str, digest: Digest) -> bool {
        let is_there = self.blob(from, digest).is_some();
        if is_there {
            self.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest);
        }
        is_there
    }

    /// Returns whether the blob was in the repository.
    pub(crate) fn remove_blob(&mut self, repository: &str, digest: Digest) -> bool {
        let was_there = self.repositories.get_mut(repository).is_some_and(|it| it.blobs.remove(&digest));
        if !self.repositories.values().any(|repository| repository.blobs.contains(&digest)) {
            self.blobs.remove(&digest);
        }
        was_there
    }

    /// Begins an upload, and returns its id.
    pub(crate) fn begin_upload(&mut self, repository: &str) -> String {
        self.uploads_begun += 1;
        // Ids have no order that a client could come to rely on.
        let id = Digest::of(&self.uploads_begun.to_be_bytes()).hex()[..32].to_owned();
        let upload = Upload { repository: repository.to_owned(), bytes: Vec::new() };
        self.uploads.insert(id.clone(), upload);
        id
    }

    fn upload(&mut self, repository: &str, id: &str) -> Option<&mut Upload> {
        self.uploads.get_mut(id).filter(|upload| upload.repository == repository)
    }

    /// Returns how many bytes of an upload have arrived; `None` if there is no such upload.
    pub(crate) fn uploaded(&mut self, repository: &str, id: &str) -> Option<usize> {
        self.upload(repository, id).map(|upload| upload.bytes.len())
    }

    /// Adds to an upload. Returns how many bytes have arrived; `None` if there is no such upload.
    pub(crate) fn continue_upload(&mut self, repository: &str, id: &str, bytes: &[u8]) -> Option<usize> {
        let upload = self.upload(repository, id)?;
        upload.bytes.extend_from_slice(bytes);
        Some(upload.bytes.len())
    }

    /// Ends an upload, and returns what has arrived.
    pub(crate) fn end_upload(&mut self, repository: &str, id: &str) -> Option<Bytes> {
        self.upload(repository, id)?;
        self.uploads.remove(id).map(|upload| upload.bytes.into())
    }

    pub(crate) fn forget_uploads(&mut self) {
        self.uploads.clear();
    }
}
