//! Writes an image to a file: an OCI image layout in a tar archive.
//!
//! Beside what the layout has, there is the `manifest.json` by which `docker load` finds an image, as Docker itself,
//! `BuildKit` and skopeo write it, so one file serves both.
//!
//! Source: OCI image specification, `image-layout.md`; moby, `image/tarexport/load.go`.

use std::collections::{BTreeSet, VecDeque};

use futures::StreamExt as _;
use garden_build_core::{Digest, Error, ErrorKind, ImageReference};
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::client::{BlobSource as _, BlobStream};
use crate::copy::{Location, Tree};
use crate::error::RegistryError;
use crate::manifest::{Descriptor, Manifest, ManifestKind, Platform};
use crate::media_type;
use crate::remedies::Remedies;

/// Tar archives consist of blocks of this many bytes.
const BLOCK: usize = 512;

/// How many manifests are read to find the one for a platform. Lists that were joined have two levels.
const MOST_LISTED: usize = 64;

/// The part of an image for one platform, or all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Platforms {
    /// All platforms, attestations, and what refers to the image.
    All,
    /// What is for this platform, and nothing else.
    Only(Platform),
}

/// Why an image could not be written.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// It could not be read from its registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It is not there for the platform that was asked for.
    #[error("{image} is not there for {platform}, but for {available}")]
    NoSuchPlatform {
        /// The image.
        image: ImageReference,
        /// What was asked for.
        platform: Platform,
        /// What there is.
        available: String,
    },
    /// What takes the archive failed.
    #[error("the image {image} cannot be written: {source}")]
    Write {
        /// The image.
        image: ImageReference,
        /// What failed.
        source: std::io::Error,
    },
}

garden_build_core::debug_with_causes!(SaveError);

/// What was written to an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Saved {
    /// The image, or the index of images.
    pub root: Descriptor,
    /// The configuration of the image that `docker load` finds in the archive, if there is one.
    pub config: Option<Digest>,
}

/// Writes the image at `source` to `output` as a tar archive, and returns what was written. In the
/// archive the image is called `name`. Nothing of it is held in memory but manifests.
///
/// # Errors
/// If the image cannot be read, is not what its digest says, or cannot be written. What has been written by then is not an archive.
pub async fn save(
    source: &Location,
    platforms: &Platforms,
    name: &ImageReference,
    output: &mut (impl AsyncWrite + Unpin + Send),
) -> Result<Saved, SaveError> {
    let root = source.root().await?;
    let (root, tree) = match platforms {
        Platforms::All => (root.clone(), Tree::find(source, root, false).await?),
        Platforms::Only(platform) => {
            let image = select(source, root, platform).await?;
            (image.clone(), Tree::alone(image))
        }
    };
    let mut archive = Archive { output, image: name };
    archive.file("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes()).await?;
    archive.file("index.json", index(&root, &tree, name).to_string().as_bytes()).await?;
    let for_docker = for_docker(&root, &tree);
    if let Some(image) = for_docker {
        archive.file("manifest.json", docker_manifest(image, name).to_string().as_bytes()).await?;
    }
    for manifest in tree.manifests() {
        archive.file(&blob_path(&manifest.descriptor()), manifest.bytes()).await?;
    }
    for blob in &tree.blobs {
        let content = source.registry.blob(source.image.repository(), blob)?.read_from(0);
        archive.stream(&blob_path(blob), blob.size, content).await?;
    }
    archive.end().await?;
    let config = for_docker.and_then(Manifest::config).map(|config| config.digest);
    Ok(Saved { root: root.descriptor(), config })
}

/// Finds the image for `platform`: an index names the platforms of its images, other images are for one only, whichever
/// that is. What an index lists may be an index as well, of whichever platforms unless it says so.
///
/// Source: OCI image specification 1.1, `image-index.md`, field `manifests`.
async fn select(source: &Location, root: Manifest, platform: &Platform) -> Result<Manifest, SaveError> {
    if root.kind() != ManifestKind::Index {
        return Ok(root);
    }
    let (mut lists, mut read) = (VecDeque::from([root]), 0);
    let mut available = BTreeSet::new();
    while let Some(list) = lists.pop_front() {
        let is_wanted =
            |child: &&Descriptor| child.platform.as_ref().is_some_and(|found| found.serves(platform));
        let is_list =
            |child: &&Descriptor| child.platform.is_none() && media_type::is_index(&child.media_type);
        let wanted = list.children().iter().find(is_wanted);
        for child in wanted.into_iter().chain(list.children().iter().filter(is_list)) {
            // Whoever lists themselves never end.
            if read == MOST_LISTED {
                break;
            }
            read += 1;
            let child = source.part(child.digest).await?;
            if child.kind() != ManifestKind::Index {
                return Ok(child);
            }
            lists.push_back(child);
        }
        let platforms = list.children().iter().filter_map(|child| child.platform.as_ref());
        available.extend(platforms.filter(|found| found.os != "unknown").map(ToString::to_string));
    }
    let available = available.into_iter().collect::<Vec<_>>().join(", ");
    let available = if available.is_empty() { "none".to_owned() } else { available };
    Err(SaveError::NoSuchPlatform { image: source.image.clone(), platform: platform.clone(), available })
}

/// `docker load` takes one image: the only one, because it cannot know which of several is meant.
fn for_docker<'a>(root: &Manifest, tree: &'a Tree) -> Option<&'a Manifest> {
    let is_child = |image: &Manifest| {
        let mut children = root.children().iter();
        children.any(|child| {
            child.digest == image.digest()
                && child.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
        })
    };
    let mut images = tree.manifests().filter(|manifest| {
        manifest.kind() == ManifestKind::Image && (manifest.digest() == root.digest() || is_child(manifest))
    });
    let image = images.next()?;
    images.next().is_none().then_some(image)
}

fn index(root: &Manifest, tree: &Tree, name: &ImageReference) -> Value {
    let mut described = root.descriptor();
    described.artifact_type = None;
    // Source: OCI image specification, `annotations.md`; containerd, `images/annotations.go`.
    described.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
    if let Some(tag) = name.tag() {
        described.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.to_owned());
    }
    // What refers to the image is named by nothing else in the archive.
    let referring =
        tree.manifests().filter(|manifest| manifest.subject().is_some()).map(Manifest::descriptor);
    let listed: Vec<Descriptor> = std::iter::once(described).chain(referring).collect();
    json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": listed })
}

fn docker_manifest(image: &Manifest, name: &ImageReference) -> Value {
    let config = image.config().map(blob_path);
    let layers: Vec<String> = image.layers().iter().map(blob_path).collect();
    let tags: Vec<String> = name.tag().iter().map(|_| name.to_string()).collect();
    json!([{ "Config": config, "RepoTags": tags, "Layers": layers }])
}

fn blob_path(content: &Descriptor) -> String {
    format!("blobs/sha256/{}", content.digest.hex())
}

struct Archive<'a, W> {
    output: &'a mut W,
    image: &'a ImageReference,
}

impl<W: AsyncWrite + Unpin + Send> Archive<'_, W> {
    async fn file(&mut self, path: &str, content: &[u8]) -> Result<(), SaveError> {
        self.header(path, content.len() as u64).await?;
        self.write(content).await?;
        self.pad(content.len() as u64).await
    }

    async fn stream(&mut self, path: &str, size: u64, mut content: BlobStream) -> Result<(), SaveError> {
        self.header(path, size).await?;
        while let Some(piece) = content.next().await {
            self.write(&piece?).await?;
        }
        self.pad(size).await
    }

    /// Always the same, so that the same image gives the same archive.
    async fn header(&mut self, path: &str, size: u64) -> Result<(), SaveError> {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).map_err(|error| self.failed(error))?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.write(header.as_bytes()).await
    }

    async fn pad(&mut self, size: u64) -> Result<(), SaveError> {
        let used = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        self.write(&[0; BLOCK][..(BLOCK - used) % BLOCK]).await
    }

    async fn end(&mut self) -> Result<(), SaveError> {
        self.write(&[0; 2 * BLOCK]).await?;
        let flushed = self.output.flush().await;
        flushed.map_err(|error| self.failed(error))
    }

    async fn write(&mut self, content: &[u8]) -> Result<(), SaveError> {
        let written = self.output.write_all(content).await;
        written.map_err(|error| self.failed(error))
    }

    fn failed(&self, source: std::io::Error) -> SaveError {
        SaveError::Write { image: self.image.clone(), source }
    }
}

impl SaveError {
    /// Explains what happened and, in the words of `remedies` where it is about the registry, what to do.
    pub fn explain(self, remedies: &Remedies) -> Error {
        match self {
            Self::Registry(error) => error.explain(remedies),
            Self::NoSuchPlatform { .. } => Error::new(ErrorKind::Config, self.to_string())
                .with_hint("ask for a platform that there is, or build the image for this one")
                .with_source(self),
            Self::Write { .. } => Error::new(ErrorKind::Unexpected, self.to_string())
                .with_hint("check that there is room, and that the file may be written")
                .with_source(self),
        }
    }
}
