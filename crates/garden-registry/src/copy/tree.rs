//! What belongs to an image.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use garden_build_core::Digest;

use super::{Location, PARALLEL};
use crate::error::RegistryError;
use crate::manifest::{Descriptor, Manifest, ManifestKind};

/// How deep indexes and what refers to them may be nested. Real images have two levels, or three with signatures.
const DEEPEST: usize = 16;

/// How many manifests an image may have. Images for every platform with all attestations have dozens.
const MOST: usize = 10_000;

/// How large the manifests of an image may be together, in bytes. They are all kept until the image is copied; real ones have some
/// hundred KiB.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// All manifests and blobs of an image.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The manifests, in the order in which they can be pushed: each is in a later level than what it names.
    pub(crate) levels: Vec<Vec<Manifest>>,
    /// The blobs, each once, the largest first: what is begun last should not take longest.
    pub(crate) blobs: Vec<Descriptor>,
}

impl Tree {
    /// Finds what belongs to `root`, which is an image of `source`; only what refers to it, if it `exists` already
    /// where it is to go.
    pub(crate) async fn find(source: &Location, root: Manifest, exists: bool) -> Result<Self, RegistryError> {
        let mut found = Found::default();
        let digest = root.digest();
        found.walk(source, vec![root]).await?;
        if exists {
            found.forget_what_belongs_to(digest);
        }
        Ok(found.into_tree())
    }

    /// What belongs to an image for one platform, without what refers to it.
    pub(crate) fn alone(image: Manifest) -> Self {
        Found { manifests: [(image.digest(), image)].into(), ..Found::default() }.into_tree()
    }

    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.levels.iter().flatten()
    }
}

#[derive(Default)]
struct Found {
    manifests: BTreeMap<Digest, Manifest>,
    /// How large those are that were read.
    bytes: usize,
}

impl Found {
    fn into_tree(self) -> Tree {
        let blobs = self.manifests.values().flat_map(Manifest::blobs).filter(|blob| !blob.is_elsewhere());
        let blobs: BTreeMap<Digest, &Descriptor> = blobs.map(|blob| (blob.digest, blob)).collect();
        let mut blobs: Vec<Descriptor> = blobs.into_values().cloned().collect();
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        Tree { levels: levels(self.manifests), blobs }
    }

    /// Takes in `generation` and all that belongs to it, generation by generation.
    async fn walk(&mut self, source: &Location, mut generation: Vec<Manifest>) -> Result<(), RegistryError> {
        for _ in 0..DEEPEST {
            let mut next = BTreeSet::new();
            for manifest in &generation {
                if manifest.kind() == ManifestKind::Unknown {
                    return Err(cannot_copy(
                        source,
                        manifest.digest(),
                        format!(
                            "its media type {} is none that this program knows, so neither are its parts",
                            manifest.media_type().escape_debug()
                        ),
                    ));
                }
                next.extend(manifest.children().iter().map(|child| child.digest));
            }
            let mut referring = stream::iter(generation.iter().map(Manifest::digest).collect::<Vec<_>>())
                .map(|digest| referring_to(source, digest))
                .buffer_unordered(PARALLEL);
            while let Some(digests) = referring.try_next().await? {
                next.extend(digests);
                if next.len() > MOST {
                    return Err(self.too_large(source));
                }
            }
            drop(referring);
            self.manifests.extend(generation.into_iter().map(|manifest| (manifest.digest(), manifest)));
            next.retain(|digest| !self.manifests.contains_key(digest));
            if next.is_empty() {
                return Ok(());
            }
            if self.manifests.len() + next.len() > MOST {
                break;
            }
            generation = Vec::new();
            let mut reading =
                stream::iter(next).map(|digest| read(source, digest)).buffer_unordered(PARALLEL);
            while let Some(manifest) = reading.try_next().await? {
                self.bytes += manifest.bytes().len();
                if self.bytes > MOST_BYTES {
                    return Err(self.too_large(source));
                }
                generation.push(manifest);
            }
        }
        Err(self.too_large(source))
    }

    fn too_large(&self, source: &Location) -> RegistryError {
        let first = self.manifests.keys().next().copied().unwrap_or_else(|| Digest::of(b""));
        let reason = format!(
            "it has more than {MOST} manifests, more than {MOST_BYTES} bytes of them, or more than {DEEPEST} levels"
        );
        cannot_copy(source, first, reason)
    }

    fn forget_what_belongs_to(&mut self, digest: Digest) {
        if let Some(manifest) = self.manifests.remove(&digest) {
            for child in manifest.children() {
                self.forget_what_belongs_to(child.digest);
            }
        }
    }
}

async fn referring_to(source: &Location, digest: Digest) -> Result<Vec<Digest>, RegistryError> {
    let listed = source.registry.referrers(source.image.repository(), digest).await?;
    Ok(listed.into_iter().map(|descriptor| descriptor.digest).collect())
}

fn read(source: &Location, digest: Digest) -> BoxFuture<'_, Result<Manifest, RegistryError>> {
    source.part(digest).boxed()
}

fn cannot_copy(source: &Location, digest: Digest, reason: String) -> RegistryError {
    RegistryError::WrongContent {
        server: source.registry.server(),
        repository: source.image.repository().to_owned(),
        digest,
        reason,
    }
}

/// Puts manifests in the order in which they can be pushed: after their children, and after their subject.
///
/// Digests cannot go in a circle, so what is left over at each step has fewer levels than before.
fn levels(mut manifests: BTreeMap<Digest, Manifest>) -> Vec<Vec<Manifest>> {
    let mut levels = Vec::new();
    while !manifests.is_empty() {
        let needs = |manifest: &Manifest| {
            let mut needed = manifest.children().iter().chain(manifest.subject());
            needed.any(|needed| manifests.contains_key(&needed.digest))
        };
        let ready: Vec<Digest> =
            manifests.values().filter(|manifest| !needs(manifest)).map(Manifest::digest).collect();
        let level: Vec<Manifest> = ready.iter().filter_map(|digest| manifests.remove(digest)).collect();
        if level.is_empty() {
            break;
        }
        levels.push(level);
    }
    levels
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::media_type;

    fn image(name: &str, subject: Option<&Manifest>) -> Manifest {
        let config = Descriptor::of("config", name.as_bytes());
        let subject = subject.map(Manifest::descriptor);
        Manifest::new(
            Some(media_type::MANIFEST),
            json!({ "config": config, "layers": [], "subject": subject }).to_string(),
        )
    }

    fn index(children: &[&Manifest]) -> Manifest {
        let children: Vec<Descriptor> = children.iter().map(|child| child.descriptor()).collect();
        Manifest::new(Some(media_type::INDEX), json!({ "manifests": children }).to_string())
    }

    #[test]
    fn manifests_are_pushed_after_all_that_they_name() {
        let (amd64, arm64) = (image("amd64", None), image("arm64", None));
        let root = index(&[&amd64, &arm64]);
        let signature = image("signature", Some(&root));
        let of_signature = image("signature of the signature", Some(&signature));
        let all = [&of_signature, &root, &signature, &arm64, &amd64];
        let levels = levels(all.map(|manifest| (manifest.digest(), manifest.clone())).into());
        let position =
            |wanted: &Manifest| levels.iter().position(|level| level.contains(wanted)).expect("there");
        assert_eq!([&amd64, &arm64, &root, &signature, &of_signature].map(position), [0, 0, 1, 2, 3]);
    }

    #[test]
    fn what_is_there_already_is_forgotten_and_what_refers_to_it_is_not() {
        let child = image("child", None);
        let root = index(&[&child]);
        let signature = image("signature", Some(&root));
        let manifests =
            [&child, &root, &signature].map(|manifest| (manifest.digest(), manifest.clone())).into();
        let mut found = Found { manifests, ..Found::default() };
        found.forget_what_belongs_to(root.digest());
        assert_eq!(found.manifests.into_keys().collect::<Vec<_>>(), [signature.digest()]);
    }
}
