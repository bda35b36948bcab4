//! Which base images have triggers (`ONBUILD`), which may read files of the context.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::try_join_all;
use garden_build_core::{Digest, ImageReference};
use garden_registry::{Descriptor, Location, Manifest, ManifestKind};
use serde::Deserialize;

use crate::target::Target;

/// The largest configuration of an image that is read. They have a few KiB.
const LARGEST_CONFIG: u64 = 4 * 1024 * 1024;

/// What is known of base images. Each is asked for its digest again, since its tag may have moved, but what an
/// image with a certain digest has it has for ever. Cheap to clone; clones share everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct BaseImages {
    has_triggers: Arc<Mutex<BTreeMap<Digest, bool>>>,
}

/// Why it is not certain that an image has no triggers.
type Doubt = String;

impl BaseImages {
    /// Makes sure that none of `bases`, as a Dockerfile calls them, has triggers, on any of `platforms`.
    ///
    /// # Errors
    /// If one has, or its registry does not tell.
    pub(crate) async fn check(
        &self,
        target: &Target,
        bases: &[String],
        platforms: &[String],
    ) -> Result<(), Doubt> {
        let checks = bases.iter().map(|base| self.check_one(target, base, platforms));
        try_join_all(checks).await.map(|_| ())
    }

    async fn check_one(&self, target: &Target, base: &str, platforms: &[String]) -> Result<(), Doubt> {
        let unknown =
            |reason: String| format!("whether {base} has triggers (ONBUILD) is not known: {reason}");
        let image = base.parse::<ImageReference>().map_err(|error| unknown(error.to_string()))?;
        let place = target.locate_base(&image).await.map_err(|error| unknown(error.message().to_owned()))?;
        match self.has_triggers(&place, platforms).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(format!("{base} has triggers (ONBUILD), which may read anything")),
            Err(reason) => Err(unknown(reason)),
        }
    }

    async fn has_triggers(&self, place: &Location, platforms: &[String]) -> Result<bool, String> {
        let Location { registry, image } = place;
        let digest = registry.resolve(image).await.map_err(|error| error.to_string())?.digest();
        let digest = digest.ok_or("its registry does not have it")?;
        if let Some(known) = self.known().get(&digest) {
            return Ok(*known);
        }
        let found = read_triggers(place, digest, platforms).await?;
        // Who asks for other platforms of an index has it read anew.
        if platforms.is_empty() {
            self.known().insert(digest, found);
        }
        Ok(found)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Digest, bool>> {
        self.has_triggers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An image's configuration, as far as it matters here.
///
/// Source: Docker image specification v1.3, `spec.md`, section `OnBuild`.
#[derive(Deserialize)]
struct Config {
    config: Option<RunConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    on_build: Option<Vec<String>>,
}

async fn read_triggers(place: &Location, digest: Digest, platforms: &[String]) -> Result<bool, String> {
    let manifest = read_manifest(place, digest).await?;
    if manifest.kind() != ManifestKind::Index {
        return read_config(place, &manifest).await;
    }
    let images = images(manifest.children(), platforms);
    if images.is_empty() {
        return Err("it has no image for the platform".to_owned());
    }
    let has_triggers = images.into_iter().map(|image| async {
        let manifest = read_manifest(place, image.digest).await?;
        read_config(place, &manifest).await
    });
    Ok(try_join_all(has_triggers).await?.contains(&true))
}

/// Chooses the images of an index that a build may begin with. Where no platform is asked for, it is the
/// node's, and hardly any is of another kind than these two; an index is made of one Dockerfile anyway.
fn images<'m>(children: &'m [Descriptor], platforms: &[String]) -> Vec<&'m Descriptor> {
    let of = |child: &Descriptor, wanted: &str| {
        child.platform.as_ref().is_some_and(|platform| {
            let platform = platform.to_string();
            platform == wanted || platform.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let chosen = |wanted: &[&str]| -> Vec<&'m Descriptor> {
        children.iter().filter(|child| wanted.iter().any(|wanted| of(child, wanted))).collect()
    };
    if !platforms.is_empty() {
        return chosen(&platforms.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let usual = chosen(&["linux/amd64", "linux/arm64"]);
    if usual.is_empty() {
        children.iter().filter(|child| !of(child, "unknown/unknown")).collect()
    } else {
        usual
    }
}

async fn read_manifest(place: &Location, digest: Digest) -> Result<Manifest, String> {
    let manifest = place.registry.manifest(&place.image.with_digest(digest)).await;
    manifest.map_err(|error| error.to_string())?.ok_or_else(|| "its registry does not have it".to_owned())
}

async fn read_config(place: &Location, manifest: &Manifest) -> Result<bool, String> {
    let descriptor = manifest.config().ok_or("it is no image")?;
    let blob = place.registry.blob(place.image.repository(), descriptor);
    let blob = blob.map_err(|error| error.to_string())?;
    let bytes = blob.bytes(LARGEST_CONFIG).await.map_err(|error| error.to_string())?;
    let config: Config = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    Ok(config.config.and_then(|config| config.on_build).is_some_and(|triggers| !triggers.is_empty()))
}

#[cfg(test)]
mod tests {
    use garden_registry::Platform;

    use super::*;

    #[test]
    fn of_an_index_the_images_count_that_a_build_may_begin_with() {
        let child = |platform: &str| {
            let mut parts = platform.splitn(3, '/').map(str::to_owned);
            let mut child = Descriptor::of("manifest", platform.as_bytes());
            let (os, architecture) = (parts.next().expect("os"), parts.next().expect("architecture"));
            child.platform = Some(Platform { architecture, os, variant: parts.next() });
            child
        };
        let index = ["linux/amd64", "linux/arm64/v8", "linux/arm/v7", "windows/amd64", "unknown/unknown"];
        let index = index.map(child);
        let chosen = |children: &[Descriptor], platforms: &[&str]| {
            let platforms: Vec<String> = platforms.iter().map(|&platform| platform.to_owned()).collect();
            let images = images(children, &platforms);
            images
                .iter()
                .map(|image| image.platform.as_ref().expect("platform").to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(&index, &[]), ["linux/amd64", "linux/arm64/v8"]);
        assert_eq!(chosen(&index, &["linux/arm64"]), ["linux/arm64/v8"]);
        assert_eq!(chosen(&index, &["linux/arm"]), ["linux/arm/v7"]);
        assert!(chosen(&index, &["linux/s390x"]).is_empty());
        assert_eq!(chosen(&index[2..], &[]), ["linux/arm/v7", "windows/amd64"]);
    }
}
