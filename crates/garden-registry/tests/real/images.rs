//! Images that tests push: small, and of any form.

use bytes::Bytes;
use garden_build_core::{Digest, ImageReference};
use garden_registry::{Descriptor, Manifest, RegistryClient, RegistryError, Sent, Uploaded};
use serde_json::json;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const OCI_TYPES: [&str; 3] =
    [OCI_MANIFEST, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"];
const DOCKER_TYPES: [&str; 3] = [
    DOCKER_MANIFEST,
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

/// An image and all that it consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Image {
    pub(crate) blobs: Vec<(Descriptor, Bytes)>,
    pub(crate) manifest: Manifest,
}

impl Image {
    /// Makes an image with layers of so many bytes. The same name makes the same content.
    pub(crate) fn new(name: &str, layers: &[usize]) -> Self {
        let layers = layers.iter().enumerate().map(|(index, size)| noise(&format!("{name}-{index}"), *size));
        Self::of(OCI_TYPES, name, layers.collect(), None)
    }

    /// Makes one in the form that Docker gives its images.
    pub(crate) fn docker(name: &str) -> Self {
        Self::of(DOCKER_TYPES, name, vec![noise(name, 1_000)], None)
    }

    /// Makes one that says something about another.
    pub(crate) fn about(subject: &Manifest, name: &str) -> Self {
        Self::of(OCI_TYPES, name, vec![noise(name, 100)], Some(subject))
    }

    fn of(types: [&str; 3], name: &str, layers: Vec<Bytes>, subject: Option<&Manifest>) -> Self {
        let [manifest_type, config_type, layer_type] = types;
        let config = Bytes::from(json!({ "architecture": "amd64", "os": "linux", "name": name }).to_string());
        let config = (Descriptor::of(config_type, &config), config);
        let layers = layers.into_iter().map(|layer| (Descriptor::of(layer_type, &layer), layer));
        let blobs: Vec<_> = [config].into_iter().chain(layers).collect();
        let described: Vec<&Descriptor> = blobs.iter().map(|(descriptor, _)| descriptor).collect();
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": described[0], "layers": described[1..],
        });
        if let Some(subject) = subject {
            manifest["subject"] =
                json!(Descriptor::new(subject.media_type(), subject.digest(), subject.size()));
            manifest["annotations"] = json!({ "org.example.name": name });
        }
        Self { manifest: Manifest::new(Some(manifest_type), manifest.to_string()), blobs }
    }

    /// Pushes what the image consists of, and the image under its reference.
    pub(crate) async fn push(&self, client: &RegistryClient, image: &ImageReference) {
        self.try_push(client, image).await.unwrap_or_else(|error| panic!("pushing {image}: {error}"));
    }

    pub(crate) async fn try_push(
        &self,
        client: &RegistryClient,
        image: &ImageReference,
    ) -> Result<Vec<Uploaded>, RegistryError> {
        let mut uploaded = Vec::new();
        for (descriptor, content) in &self.blobs {
            let repository = image.repository();
            uploaded.push(client.upload_blob(repository, descriptor, None, content, &Sent::untold()).await?);
        }
        client.push_manifest(image, &self.manifest).await?;
        Ok(uploaded)
    }
}

/// Reads the whole image that `image` stands for, if there is one.
pub(crate) async fn pull(
    client: &RegistryClient,
    image: &ImageReference,
) -> Result<Option<Image>, RegistryError> {
    let Some(manifest) = client.manifest(image).await? else { return Ok(None) };
    let mut blobs = Vec::new();
    for descriptor in manifest.blobs() {
        let content = client.blob(image.repository(), descriptor)?.bytes(1 << 30).await?;
        blobs.push((descriptor.clone(), content));
    }
    Ok(Some(Image { blobs, manifest }))
}

/// Makes an index of manifests.
pub(crate) fn index(media_type: &str, children: &[&Manifest]) -> Manifest {
    let children: Vec<_> = children
        .iter()
        .map(|child| {
            let child = Descriptor::new(child.media_type(), child.digest(), child.size());
            let mut child = json!(child);
            child["platform"] = json!({ "architecture": "amd64", "os": "linux" });
            child
        })
        .collect();
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": children });
    Manifest::new(Some(media_type), index.to_string())
}

/// Returns bytes that do not compress, the same for the same name. Made without a digest of each few of them, which takes seconds for a large
/// blob in a build without optimisation.
pub(crate) fn noise(name: &str, size: usize) -> Bytes {
    let seed = Digest::of(name.as_bytes());
    let mut state = u64::from_le_bytes(seed.as_bytes()[..8].try_into().expect("8 bytes"));
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        // A linear congruential generator; its low bits repeat soon.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}
