//! Copies an image from one registry to another, or within one, without anything in between.
//!
//! First it is found out what belongs to the image ([`tree`]); then blobs are brought over, the largest first and some at
//! once; then manifests, each after those that it names; the tag comes last, so whoever pulls it finds everything.
//! What is there already is not sent again, so a copy that broke is taken up by copying anew.
//!
//! Why: docs/decisions/71-the-tag-comes-last.md

mod tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use garden_build_core::{Digest, Error, ImageReference};
use serde::{Deserialize, Serialize};

use crate::client::{BlobSource, BlobStream, RegistryClient, RemoteBlob, Resolution, Sent, Uploaded};
use crate::error::RegistryError;
use crate::manifest::{Descriptor, Manifest};
use crate::remedies::Remedies;
pub(crate) use tree::Tree;

/// How many blobs travel at once. `docker push` has five; more rarely help, and some registries mind.
const PARALLEL: usize = 6;

/// An image, and the client that knows the way to it.
#[derive(Clone, Debug)]
pub struct Location {
    /// The client of the image's registry.
    pub registry: RegistryClient,
    /// The image.
    pub image: ImageReference,
}

impl Location {
    /// Reads the image's own manifest, which has to be there.
    pub(crate) async fn root(&self) -> Result<Manifest, RegistryError> {
        let root = self.registry.manifest(&self.image).await?;
        root.ok_or_else(|| self.missing(format!("image {}", self.image)))
    }

    /// Reads a manifest that belongs to the image, and so has to be there.
    pub(crate) async fn part(&self, digest: Digest) -> Result<Manifest, RegistryError> {
        let manifest = self.registry.manifest(&self.image.with_digest(digest)).await?;
        manifest.ok_or_else(|| self.missing(format!("manifest {digest}")))
    }

    fn missing(&self, what: String) -> RegistryError {
        let (registry, repository) = (self.image.registry().to_owned(), self.image.repository().to_owned());
        RegistryError::Missing { registry, repository, what }
    }
}

/// What happens during a copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CopyEvent {
    /// It is known what is to be copied: so many manifests, and blobs of so many bytes.
    Found {
        /// How many manifests belong to the image.
        manifests: usize,
        /// The blobs that belong to it.
        blobs: Vec<Descriptor>,
    },
    /// So much of a blob is on its way or there.
    Sent {
        /// The blob.
        blob: Digest,
        /// Bytes, of all that it has. May be fewer than before, when some were lost.
        bytes: u64,
    },
    /// A blob is where it should be.
    Arrived {
        /// The blob.
        blob: Digest,
        /// How it came there.
        how: Uploaded,
    },
}

/// What a copy came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Copied {
    /// The image's digest, there as here.
    pub digest: Digest,
    /// Whether the image was there already.
    pub existed: bool,
    /// How many blobs were sent.
    pub blobs_sent: u64,
    /// How many blobs the registry took from another of its repositories.
    pub blobs_mounted: u64,
    /// How many blobs were there already.
    pub blobs_existed: u64,
    /// The size of the blobs that were sent, in bytes.
    pub bytes_sent: u64,
}

/// Why an image was not copied, by the side where it failed: each may be a registry of another owner, with other options.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// It could not be read from its registry.
    #[error(transparent)]
    Source(RegistryError),
    /// It could not be written to the other registry.
    #[error(transparent)]
    Destination(RegistryError),
}

garden_build_core::debug_with_causes!(CopyError);

impl CopyError {
    /// Explains what happened and, in the words of the side where it did, what to do.
    pub fn explain(self, source: &Remedies, destination: &Remedies) -> Error {
        match self {
            Self::Source(error) => error.explain(source),
            Self::Destination(error) => error.explain(destination),
        }
    }
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    mounted: AtomicU64,
    existed: AtomicU64,
    bytes: AtomicU64,
}

/// Copies an image, with all its platforms, attestations, and what refers to it, and verifies that the destination's
/// tag stands for the same digest at the end.
///
/// `report` is called often, and must not take long.
///
/// # Errors
/// If something of the image is missing or is not what its digest says, or a registry refuses or cannot be reached.
/// The destination's tag then stands for what it stood for before, unless only the last check failed.
pub async fn copy(
    source: &Location,
    destination: &Location,
    report: Arc<dyn Fn(CopyEvent) + Send + Sync>,
) -> Result<Copied, CopyError> {
    let root = source.root().await.map_err(CopyError::Source)?;
    let digest = root.digest();
    let found = destination.registry.resolve(&destination.image).await.map_err(CopyError::Destination)?;
    let existed = found == Resolution::Exists(digest);

    // An image that is there is there as a whole; what refers to it may be new.
    let tree = Tree::find(source, root, existed).await.map_err(CopyError::Source)?;
    report(CopyEvent::Found { manifests: tree.manifests().count(), blobs: tree.blobs.clone() });
    let counters = Counters::default();
    // Collected first: a closure that borrows could not be held while others run.
    let copying: Vec<_> =
        tree.blobs.iter().map(|blob| copy_blob(source, destination, blob, &report, &counters)).collect();
    stream::iter(copying).buffer_unordered(PARALLEL).try_collect::<()>().await?;

    for level in &tree.levels {
        let name = |manifest: &Manifest| (manifest.digest() == digest).then_some(&destination.image);
        let pushing = |manifests: Vec<_>| -> Vec<_> {
            manifests.into_iter().map(|manifest| push(destination, manifest, name(manifest))).collect()
        };
        // What refers to something goes one by one: it may have to be added to a list, of which the last one wins.
        let (referring, others): (Vec<_>, Vec<_>) =
            level.iter().partition(|manifest| manifest.subject().is_some());
        let pushed = async {
            stream::iter(pushing(others)).buffer_unordered(PARALLEL).try_collect::<()>().await?;
            stream::iter(pushing(referring)).buffered(1).try_collect::<()>().await
        };
        pushed.await.map_err(CopyError::Destination)?;
    }
    verify(destination, digest).await.map_err(CopyError::Destination)?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Copied {
        digest,
        existed,
        blobs_sent: count(&counters.sent),
        blobs_mounted: count(&counters.mounted),
        blobs_existed: count(&counters.existed),
        bytes_sent: count(&counters.bytes),
    })
}

async fn copy_blob(
    source: &Location,
    destination: &Location,
    blob: &Descriptor,
    report: &Arc<dyn Fn(CopyEvent) + Send + Sync>,
    counters: &Counters,
) -> Result<(), CopyError> {
    let from = source.registry.is_same_registry(&destination.registry).then(|| source.image.repository());
    let content = source.registry.blob(source.image.repository(), blob).map_err(CopyError::Source)?;
    let content = WatchedSource { content, failed: Arc::default() };
    let (told, digest) = (Arc::clone(report), blob.digest);
    let sent = Sent::new(move |bytes| told(CopyEvent::Sent { blob: digest, bytes }));
    let repository = destination.image.repository();
    let uploaded = destination.registry.upload_blob(repository, blob, from, &content, &sent).await;
    let how = uploaded.map_err(|error| content.side_of(error))?;
    let counter = match how {
        Uploaded::Existed => &counters.existed,
        Uploaded::Mounted => &counters.mounted,
        Uploaded::Sent => {
            counters.bytes.fetch_add(blob.size, Ordering::Relaxed);
            &counters.sent
        }
    };
    counter.fetch_add(1, Ordering::Relaxed);
    report(CopyEvent::Arrived { blob: digest, how });
    Ok(())
}

/// The content of a blob, which remembers whether reading it failed: an upload fails with what its source failed with.
struct WatchedSource {
    content: RemoteBlob,
    failed: Arc<AtomicBool>,
}

impl WatchedSource {
    fn side_of(&self, error: RegistryError) -> CopyError {
        if self.failed.load(Ordering::Relaxed) {
            CopyError::Source(error)
        } else {
            CopyError::Destination(error)
        }
    }
}

impl BlobSource for WatchedSource {
    fn read_from(&self, offset: u64) -> BlobStream {
        let failed = Arc::clone(&self.failed);
        self.content.read_from(offset).inspect_err(move |_| failed.store(true, Ordering::Relaxed)).boxed()
    }
}

/// Pushes a manifest under `name`, or under its digest if it has none of its own.
async fn push(
    destination: &Location,
    manifest: &Manifest,
    name: Option<&ImageReference>,
) -> Result<(), RegistryError> {
    let by_digest = destination.image.with_digest(manifest.digest());
    destination.registry.push_manifest(name.unwrap_or(&by_digest), manifest).await
}

async fn verify(destination: &Location, digest: Digest) -> Result<(), RegistryError> {
    let reason = match destination.registry.resolve(&destination.image).await? {
        Resolution::Exists(found) if found == digest => return Ok(()),
        Resolution::Exists(found) => format!("after it was pushed, {} stands for {found}", destination.image),
        Resolution::Missing => format!("after it was pushed, {} does not exist", destination.image),
    };
    Err(RegistryError::WrongContent {
        server: destination.registry.server(),
        repository: destination.image.repository().to_owned(),
        digest,
        reason,
    })
}
