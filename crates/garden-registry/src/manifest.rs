//! What a manifest says: which blobs and which other manifests belong to an image.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use garden_build_core::Digest;
use serde::{Deserialize, Deserializer, Serialize};

use crate::media_type;

/// Names a piece of content: what it is, its digest and its size.
///
/// Source: OCI image specification, `descriptor.md`. Only SHA-256 digests are understood, as registries
/// have hardly any other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Descriptor {
    /// What the content is.
    #[serde(default)]
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size, in bytes.
    pub size: u64,
    /// What kind of artifact a manifest describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// For which platform a manifest of an index is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Where else the content is. Registries need not have what is said to be elsewhere.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Anything else.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A platform. Source: OCI image specification, `image-index.md`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Platform {
    /// The processor, in Go's words: `amd64`, `arm64`; `unknown` for attestations.
    pub architecture: String,
    /// The operating system, in Go's words: `linux`; `unknown` for attestations.
    pub os: String,
    /// The processor's variant, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Names a platform as the OCI image specification does: `linux`, `amd64`, and for some processors a variant such as `v7`.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>, variant: Option<String>) -> Self {
        Self { architecture: architecture.into(), os: os.into(), variant }
    }

    /// Returns the platform that this program was compiled for, running Linux as containers do.
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    /// Returns whether what is for this platform runs on `wanted`. A variant counts only if one is wanted.
    pub(crate) fn serves(&self, wanted: &Self) -> bool {
        (&self.os, &self.architecture) == (&wanted.os, &wanted.architecture)
            && (wanted.variant.is_none() || wanted.variant == self.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl Descriptor {
    /// Describes `size` bytes of content.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            artifact_type: None,
            platform: None,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Describes content that is at hand.
    pub fn of(media_type: impl Into<String>, content: &[u8]) -> Self {
        Self::new(media_type, Digest::of(content), content.len() as u64)
    }

    /// Returns whether registries need not have the content: a layer whose media type forbids to distribute it,
    /// and that is somewhere else.
    ///
    /// Source: OCI image specification, `layer.md`, section "Non-Distributable Layers".
    pub fn is_elsewhere(&self) -> bool {
        !self.urls.is_empty() && media_type::is_non_distributable(&self.media_type)
    }
}

/// What a manifest is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ManifestKind {
    /// An image for one platform, or another artifact that has the form of one.
    Image,
    /// A list of manifests, for example one for each platform.
    Index,
    /// Something that this library does not know, or that has not the form its type promises.
    Unknown,
}

/// A manifest as a registry keeps it: its bytes, which its digest is of, and what they mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    media_type: String,
    digest: Digest,
    bytes: Bytes,
    kind: ManifestKind,
    content: Content,
}

/// The forms of a manifest in one.
///
/// Source: OCI image specification, `manifest.md` and `image-index.md`; distribution project, "Image
/// Manifest Version 2, Schema 2", whose fields are the same.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(deserialize_with = "null_is_empty")]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
}

/// Go writes `null` for a list or map that has nothing in it.
fn null_is_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Manifest {
    /// Reads a manifest. `media_type` is what the registry says that it is; if it does not say, the manifest's
    /// own word counts. One that cannot be understood is [`ManifestKind::Unknown`], and kept as it is.
    pub fn new(media_type: Option<&str>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let content: Option<Content> = serde_json::from_slice(&bytes).ok();
        let understood = content.is_some();
        let content = content.unwrap_or_default();
        let media_type = media_type.map(media_type::essence).filter(|said| !said.is_empty());
        let media_type = media_type.map(str::to_owned).or_else(|| content.media_type.clone());
        let media_type = media_type.unwrap_or_else(|| {
            let guess = if content.manifests.is_some() { media_type::INDEX } else { media_type::MANIFEST };
            guess.to_owned()
        });
        let kind = match media_type.as_str() {
            media_type::INDEX | media_type::DOCKER_LIST if content.manifests.is_some() => ManifestKind::Index,
            media_type::MANIFEST | media_type::DOCKER_MANIFEST if content.config.is_some() => {
                ManifestKind::Image
            }
            _ => ManifestKind::Unknown,
        };
        // What is not understood has no parts that anyone could rely on.
        let content = if understood && kind != ManifestKind::Unknown { content } else { Content::default() };
        Self { media_type, digest: Digest::of(&bytes), bytes, kind, content }
    }

    /// Describes what a server has answered instead, if it is not a manifest: it may be a web server's page, or one for logging in.
    ///
    /// A manifest is a JSON object whose type or whose `schemaVersion` says so: some registries give all that they have one type.
    /// Source: OCI image specification, `manifest.md` and `image-index.md`.
    pub(crate) fn instead(content_type: Option<&str>, bytes: &[u8]) -> Option<String> {
        /// Everything else is skipped, however deep it is.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            schema_version: Option<u64>,
        }
        let media_type = content_type.map(media_type::essence).unwrap_or_default();
        let version = serde_json::from_slice::<Version>(bytes);
        match version {
            Ok(Version { schema_version })
                if schema_version.is_some() || media_type::is_of_manifest(media_type) =>
            {
                None
            }
            _ if bytes.is_empty() => Some("nothing".to_owned()),
            _ if media_type == "text/html" => Some("a web page".to_owned()),
            Ok(_) => Some("JSON of another kind".to_owned()),
            Err(_) if media_type.is_empty() => Some("something that is not JSON".to_owned()),
            Err(_) => Some(format!("something that is not JSON ({media_type})")),
        }
    }

    /// Returns what the registry says that it is.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns the digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns its bytes. They must not be written anew: another order of fields is another digest.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns its size, in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns what it is of.
    pub fn kind(&self) -> ManifestKind {
        self.kind
    }

    /// Returns the manifests that it lists, if it is an index.
    pub fn children(&self) -> &[Descriptor] {
        self.content.manifests.as_deref().unwrap_or_default()
    }

    /// Returns the image's configuration, if it is of one.
    pub fn config(&self) -> Option<&Descriptor> {
        self.content.config.as_ref()
    }

    /// Returns the image's layers, lowest first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.content.layers
    }

    /// Returns the configuration and the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config().into_iter().chain(self.layers())
    }

    /// Returns the manifest that this one says something about: a signature, for example, names what was signed.
    ///
    /// Source: OCI image specification, `manifest.md`, `subject`.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.content.subject.as_ref()
    }

    /// Returns the descriptor with which an index lists this manifest.
    pub fn descriptor(&self) -> Descriptor {
        let config_type = || self.config().map(|config| config.media_type.clone());
        Descriptor {
            // Source: OCI distribution specification, "Listing Referrers": artifactType, else that of the config.
            artifact_type: self.content.artifact_type.clone().or_else(config_type),
            annotations: self.content.annotations.clone(),
            ..Descriptor::new(self.media_type.clone(), self.digest, self.size())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn blob(text: &str) -> serde_json::Value {
        json!({ "mediaType": "x", "digest": Digest::of(text.as_bytes()), "size": text.len() })
    }

    #[test]
    fn an_image_names_its_blobs_and_its_subject() {
        let text = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": blob("config"),
            "layers": [blob("a"), blob("b")], "subject": blob("subject"),
        })
        .to_string();
        let manifest = Manifest::new(None, text.clone());
        assert_eq!((manifest.kind(), manifest.media_type()), (ManifestKind::Image, media_type::MANIFEST));
        let blobs: Vec<Digest> = manifest.blobs().map(|blob| blob.digest).collect();
        assert_eq!(blobs, ["config", "a", "b"].map(|text| Digest::of(text.as_bytes())));
        assert_eq!(manifest.subject().expect("a subject").digest, Digest::of(b"subject"));
        assert_eq!(manifest.digest(), Digest::of(text.as_bytes()));
        assert!(manifest.children().is_empty());
    }

    #[test]
    fn an_index_names_its_children_also_without_a_media_type_of_its_own() {
        let manifest =
            Manifest::new(None, json!({ "schemaVersion": 2, "manifests": [blob("a")] }).to_string());
        assert_eq!((manifest.kind(), manifest.media_type()), (ManifestKind::Index, media_type::INDEX));
        assert_eq!(manifest.children().len(), 1);
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let text = json!({ "config": blob("config"), "layers": null, "annotations": null, "subject": null });
        let manifest = Manifest::new(None, text.to_string());
        assert_eq!((manifest.kind(), manifest.blobs().count()), (ManifestKind::Image, 1));
    }

    #[test]
    fn what_the_registry_says_counts_and_parameters_do_not() {
        let text = json!({ "config": blob("config"), "layers": [] }).to_string();
        let manifest =
            Manifest::new(Some("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"), text);
        assert_eq!(
            (manifest.kind(), manifest.media_type()),
            (ManifestKind::Image, media_type::DOCKER_MANIFEST)
        );
    }

    #[test]
    fn what_is_not_understood_is_unknown_and_kept() {
        for (media_type, text) in [
            (Some("application/vnd.example.thing"), json!({ "config": blob("c"), "layers": [] }).to_string()),
            (Some(media_type::MANIFEST), "not JSON".to_owned()),
            (Some(media_type::INDEX), json!({ "config": blob("c"), "layers": [] }).to_string()),
            (
                Some(media_type::MANIFEST),
                json!({ "config": { "digest": "md5:1" }, "layers": [] }).to_string(),
            ),
            // Docker's schema 1.
            (None, json!({ "schemaVersion": 1, "fsLayers": [] }).to_string()),
        ] {
            let manifest = Manifest::new(media_type, text.clone());
            assert_eq!(manifest.kind(), ManifestKind::Unknown, "{text}");
            assert_eq!(manifest.bytes().as_ref(), text.as_bytes());
            assert_eq!(manifest.blobs().count() + manifest.children().len(), 0);
        }
    }

    #[test]
    fn only_what_may_not_be_distributed_is_elsewhere() {
        let mut layer = Descriptor::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"x");
        assert!(!layer.is_elsewhere());
        layer.urls.push("https://elsewhere.example/layer".to_owned());
        assert!(layer.is_elsewhere());
        layer.media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
        assert!(!layer.is_elsewhere());
    }
}
