//! What it has, for tests.

use bytes::Bytes;
use garden_build_core::{Digest, ImageReference};
use serde_json::{Value, json};

use super::{INDEX, Image, Manifest, Registry};

/// Takes the name of an image apart: the repository, and a tag or a digest.
#[track_caller]
fn named(image: &str) -> (String, String) {
    let name: ImageReference = format!("registry.example/{image}")
        .parse()
        .unwrap_or_else(|error| panic!("`{image}` cannot be the name of an image: {error}"));
    let reference = name.digest().or(name.tag()).unwrap_or("latest").to_owned();
    (name.repository().to_owned(), reference)
}

/// Returns what stands for the manifest besides its digest.
fn tag(reference: &str) -> Option<&str> {
    Some(reference).filter(|reference| reference.parse::<Digest>().is_err())
}

/// What it has.
impl Registry {
    /// Puts an image into it with all its layers, and returns the digest. It is there at once, and counts as no request.
    ///
    /// # Panics
    /// If `name` cannot be the name of an image.
    #[track_caller]
    pub fn push_image(&self, name: &str, image: &Image) -> Digest {
        let (repository, reference) = named(name);
        image.put(&mut self.shared.lock().store, &repository, tag(&reference));
        image.digest()
    }

    /// Puts a list of images into it, which are those of several platforms, with all their layers. Returns the digest of the list.
    ///
    /// # Panics
    /// If `name` cannot be the name of an image.
    #[track_caller]
    pub fn push_index<'a>(&self, name: &str, images: impl IntoIterator<Item = &'a Image>) -> Digest {
        let (repository, reference) = named(name);
        let store = &mut self.shared.lock().store;
        let images: Vec<Value> =
            images.into_iter().map(|image| image.put(store, &repository, None)).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": images });
        store.put_manifest(&repository, tag(&reference), Manifest::new(INDEX, index.to_string()))
    }

    /// Puts a manifest into it as it is, whatever it says, and returns the digest.
    ///
    /// # Panics
    /// If `name` cannot be the name of an image.
    #[track_caller]
    pub fn push_manifest(&self, name: &str, manifest: Manifest) -> Digest {
        let (repository, reference) = named(name);
        self.shared.lock().store.put_manifest(&repository, tag(&reference), manifest)
    }

    /// Puts a blob into a repository, such as `team/api`, and returns the digest.
    pub fn push_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        self.shared.lock().store.put_blob(repository, bytes.into())
    }

    /// Whether it has a manifest of this name.
    ///
    /// # Panics
    /// If `name` cannot be the name of an image.
    #[track_caller]
    pub fn has(&self, name: &str) -> bool {
        self.manifest(name).is_some()
    }

    /// Returns the manifest, or the list of manifests, of this name.
    ///
    /// # Panics
    /// If `name` cannot be the name of an image.
    #[track_caller]
    pub fn manifest(&self, name: &str) -> Option<Manifest> {
        let (repository, reference) = named(name);
        self.shared.lock().store.manifest(&repository, &reference).cloned()
    }

    /// Returns an image, of a list the first; `None` if there is none, or if a part of it is missing.
    ///
    /// # Panics
    /// If `name` cannot be the name of an image.
    #[track_caller]
    pub fn image(&self, name: &str) -> Option<Image> {
        let (repository, reference) = named(name);
        let store = &self.shared.lock().store;
        let manifest = store.manifest(&repository, &reference)?;
        let first = manifest.json()["manifests"][0]["digest"].as_str().map(str::to_owned);
        match first {
            Some(digest) => Image::read(store, &repository, store.manifest(&repository, &digest)?),
            None => Image::read(store, &repository, manifest),
        }
    }

    /// Returns a blob of a repository.
    pub fn blob(&self, repository: &str, digest: Digest) -> Option<Bytes> {
        self.shared.lock().store.blob(repository, digest).cloned()
    }

    /// Removes a tag or, by digest, a manifest with all its tags. Returns whether it was there.
    ///
    /// # Panics
    /// If `name` cannot be the name of an image.
    #[track_caller]
    pub fn remove(&self, name: &str) -> bool {
        let (repository, reference) = named(name);
        self.shared.lock().store.remove_manifest(&repository, &reference)
    }

    /// Removes a blob from a repository, such as one of an image that is damaged by it. Returns whether it was there.
    pub fn remove_blob(&self, repository: &str, digest: Digest) -> bool {
        self.shared.lock().store.remove_blob(repository, digest)
    }

    /// Returns the names of its repositories, in order.
    pub fn repositories(&self) -> Vec<String> {
        self.shared.lock().store.repositories().map(str::to_owned).collect()
    }

    /// Returns the tags of a repository, in order; none if there is no such repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let state = self.shared.lock();
        state.store.tags(repository).into_iter().flatten().map(str::to_owned).collect()
    }
}
