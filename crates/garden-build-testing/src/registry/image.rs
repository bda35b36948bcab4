use bytes::Bytes;
use garden_build_core::Digest;
use garden_build_core::context::TarStream;
use serde_json::{Value, json};

use super::store::{Manifest, Store};

/// An image to be put into a registry: a configuration and layers.
///
/// ```
/// use garden_build_testing::registry::Image;
///
/// let image = Image::new().platform("linux/arm64").label("team", "api").file("etc/motd", "hello\n");
/// assert_eq!(image.config()["config"]["Labels"]["team"], "api");
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Image {
    config: Value,
    layers: Vec<Bytes>,
}

/// The type of a layer that is not compressed.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// An image for `linux/amd64` without layers.
    pub fn new() -> Self {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [] },
        });
        Self { config, layers: Vec::new() }
    }

    /// Makes it one for another platform: `os/architecture` or `os/architecture/variant`.
    #[must_use]
    pub fn platform(mut self, platform: &str) -> Self {
        for (field, value) in ["os", "architecture", "variant"].into_iter().zip(platform.split('/')) {
            self.config[field] = value.into();
        }
        self
    }

    /// Labels it.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.config["config"]["Labels"][name] = value.into();
        self
    }

    /// Changes its configuration, as the OCI Image Specification has it: `config["config"]["Env"]`, for example.
    #[must_use]
    pub fn with_config(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Adds a layer: a tar archive that is not compressed.
    #[must_use]
    pub fn layer(mut self, archive: impl Into<Bytes>) -> Self {
        let archive = archive.into();
        if let Value::Array(digests) = &mut self.config["rootfs"]["diff_ids"] {
            digests.push(Digest::of(&archive).to_string().into());
        }
        self.layers.push(archive);
        self
    }

    /// Adds a layer with one file, whose `path` has no `/` at its beginning.
    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        let mut archive = TarStream::new(Vec::new());
        let written = archive.add_file(path, contents.as_ref()).and_then(|()| archive.finish());
        self.layer(written.unwrap_or_default())
    }

    /// Returns its configuration.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Returns its layers, the lowest first.
    pub fn layers(&self) -> &[Bytes] {
        &self.layers
    }

    /// Returns the digest that it has in a registry.
    pub fn digest(&self) -> Digest {
        self.manifest().digest()
    }

    fn manifest(&self) -> Manifest {
        let layers: Vec<_> = self.layers.iter().map(|layer| described(LAYER, layer)).collect();
        let config = described(CONFIG, self.config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": super::MANIFEST, "config": config, "layers": layers,
        });
        Manifest::new(super::MANIFEST, manifest.to_string())
    }

    /// Puts everything into a repository. Returns how a list describes it.
    pub(crate) fn put(&self, store: &mut Store, repository: &str, tag: Option<&str>) -> Value {
        for layer in &self.layers {
            store.put_blob(repository, layer.clone());
        }
        store.put_blob(repository, self.config.to_string().into());
        let manifest = self.manifest();
        let mut description = described(super::MANIFEST, &manifest.bytes);
        for field in ["os", "architecture", "variant"] {
            if self.config[field].is_string() {
                description["platform"][field] = self.config[field].clone();
            }
        }
        store.put_manifest(repository, tag, manifest);
        description
    }

    /// Reads one.
    pub(crate) fn read(store: &Store, repository: &str, manifest: &Manifest) -> Option<Self> {
        let content = manifest.json();
        let blob = |description: &Value| {
            store.blob(repository, description["digest"].as_str()?.parse().ok()?).cloned()
        };
        let config = serde_json::from_slice(&blob(&content["config"])?).ok()?;
        let layers = content["layers"].as_array()?.iter().map(blob).collect::<Option<_>>()?;
        Some(Self { config, layers })
    }
}

fn described(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}
