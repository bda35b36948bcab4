//! The image that is copied: 1 GB that does not compress.

use std::io::Write as _;

use anyhow::Result;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use garden_build::registry::{Descriptor, Location, Manifest, Sent};
use serde_json::json;

use super::workload::Noise;

/// The sizes of the layers, in MB: one GB in all, as a base image, libraries and an application might have them.
const LAYERS: [usize; 6] = [400, 250, 150, 100, 80, 20];

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Puts the image where `location` says.
pub(super) async fn push(location: &Location) -> Result<Manifest> {
    let configuration = json!({ "architecture": "amd64", "os": "linux" }).to_string();
    let configuration = upload(location, CONFIGURATION, configuration).await?;
    let mut layers = Vec::new();
    for (size, seed) in LAYERS.iter().zip(0..) {
        layers.push(upload(location, LAYER, layer(seed, size * 1_000_000)?).await?);
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": configuration, "layers": layers,
    });
    let manifest = Manifest::new(Some(MANIFEST), manifest.to_string());
    location.registry.push_manifest(&location.image, &manifest).await?;
    Ok(manifest)
}

async fn upload(location: &Location, media_type: &str, content: impl Into<Bytes>) -> Result<Descriptor> {
    let Location { registry, image } = location;
    let content = content.into();
    let descriptor = Descriptor::of(media_type, &content);
    registry.upload_blob(image.repository(), &descriptor, None, &content, &Sent::untold()).await?;
    Ok(descriptor)
}

/// Makes a layer in gzip's format: what has another one, some clients would compress on its way.
fn layer(seed: u64, size: usize) -> Result<Vec<u8>> {
    let mut noise = Noise::new(seed);
    let mut content = GzEncoder::new(Vec::with_capacity(size + size / 1000), Compression::none());
    for _ in 0..size / 8 {
        content.write_all(&noise.next().to_le_bytes())?;
    }
    Ok(content.finish()?)
}
