//! Decides which caches a build reads and writes, in the attributes that `BuildKit` knows.
//!
//! The rules are the guide's (section "Caching") and, where it is silent, those of Garden's code. The
//! attributes are those of `BuildKit` 0.26: `cache/remotecache/registry/registry.go` and `control/control.go`.
//!
//! Why: docs/decisions/42-layers-are-compressed-at-level-one.md

use std::collections::BTreeMap;

use garden_build_core::{Error, ErrorKind, ImageReference, ReferenceError};
use garden_config::{CacheLayer, CacheMode, DeploymentRegistry};
use garden_registry::clouds::{is_elastic_container_registry, is_google_container_registry};

use crate::client::COMPRESSION_LEVEL;

/// What one build reads from caches and writes to them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CachePlan {
    /// The caches to read. `BuildKit` stays with the first that has anything for the build, so their
    /// order counts. A cache that does not exist yet is not an error.
    pub imports: Vec<CacheEntry>,
    /// The caches to write.
    pub exports: Vec<CacheEntry>,
    /// The names that the image is pushed under besides its own, because its inline cache is looked
    /// for there.
    pub extra_names: Vec<ImageReference>,
}

/// One cache, as an import or as an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// Where the cache is.
    pub kind: CacheKind,
    /// Its attributes.
    pub attributes: BTreeMap<&'static str, String>,
}

/// Where a cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheKind {
    /// By itself in a registry.
    Registry,
    /// Within the image that is built. Only exports are of this kind: an inline cache is read from
    /// the registry that the image is in.
    Inline,
}

/// Cache layers that cannot be used together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The layer's cache cannot be named.
    #[error("`clusterBuildkit.cache[{index}]`: {source}")]
    Reference {
        /// The layer, counted from 0.
        index: usize,
        /// What is wrong with the name.
        source: ReferenceError,
    },
    /// The layer is of a kind that came after this was written.
    #[error("`clusterBuildkit.cache[{index}]` is of a kind that the mode cluster-buildkit does not know")]
    Unknown {
        /// The layer, counted from 0.
        index: usize,
    },
    /// Two layers are the same cache, but contradict each other.
    #[error(
        "`clusterBuildkit.cache[{first}]` and `clusterBuildkit.cache[{second}]` are both `{reference}`, but with \
         different values of `mode`"
    )]
    Contradiction {
        /// The one layer, counted from 0.
        first: usize,
        /// The other layer.
        second: usize,
        /// The name of the cache.
        reference: String,
    },
}

impl CacheKind {
    /// Returns `BuildKit`'s word for the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Inline => "inline",
        }
    }
}

impl CacheError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Reference { .. } => {
                "names of images are lower-case letters and digits, separated by `.`, `_`, `-` or `/`"
                    .to_owned()
            }
            Self::Unknown { .. } => "take `type: registry`".to_owned(),
            Self::Contradiction { first, second, .. } => {
                format!(
                    "give one of the two another `tag`, or `cache[{first}]` and `cache[{second}]` the same `mode`"
                )
            }
        }
    }
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        let hint = error.hint();
        Self::new(ErrorKind::Config, error.to_string()).with_hint(hint)
    }
}

/// What a layer means for one image.
struct Layer<'a> {
    index: usize,
    reference: ImageReference,
    registry: &'a DeploymentRegistry,
    mode: Mode,
    export: bool,
}

/// What [`CacheMode`] means once the registry is known.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Min,
    Max,
    Inline,
}

/// Decides which caches a build of the image `image_name` reads and writes. The image is pushed to
/// `deployment`, where a layer without a registry of its own has its cache too. Layers of the image that are only in a
/// cache are compressed as those of the image.
///
/// If several layers are the same cache, the first stands for all, because `BuildKit` refuses to write
/// one cache twice. That is not the user's mistake: a layer for the branch and one for the main branch
/// are the same on the main branch. One of them is enough to have it written.
///
/// # Errors
/// If a cache cannot be named, or two layers want the same cache to be different things.
pub fn plan(
    layers: &[CacheLayer],
    image_name: &str,
    deployment: &DeploymentRegistry,
    compression_level: u8,
) -> Result<CachePlan, CacheError> {
    let mut plan = CachePlan::default();
    for layer in distinct(layers, image_name, deployment)? {
        plan.imports.push(CacheEntry::new(CacheKind::Registry, layer.attributes()));
        if !layer.export {
            continue;
        }
        if layer.mode != Mode::Inline {
            plan.exports
                .push(CacheEntry::new(CacheKind::Registry, layer.export_attributes(compression_level)));
            continue;
        }
        // There is one image, so there is one inline cache, whatever the number of its names.
        if plan.extra_names.is_empty() {
            plan.exports.push(CacheEntry::new(CacheKind::Inline, BTreeMap::new()));
        }
        plan.extra_names.push(layer.reference);
    }
    Ok(plan)
}

/// Resolves the layers, and joins those that are the same cache.
fn distinct<'a>(
    layers: &'a [CacheLayer],
    image_name: &str,
    deployment: &'a DeploymentRegistry,
) -> Result<Vec<Layer<'a>>, CacheError> {
    let mut distinct: Vec<Layer<'a>> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let layer = Layer::resolve(index, layer, image_name, deployment)?;
        match distinct.iter_mut().find(|known| known.reference == layer.reference) {
            Some(known) => known.join(&layer)?,
            None => distinct.push(layer),
        }
    }
    Ok(distinct)
}

impl CacheEntry {
    fn new(kind: CacheKind, attributes: BTreeMap<&'static str, String>) -> Self {
        Self { kind, attributes }
    }
}

impl<'a> Layer<'a> {
    fn resolve(
        index: usize,
        layer: &'a CacheLayer,
        image_name: &str,
        deployment: &'a DeploymentRegistry,
    ) -> Result<Self, CacheError> {
        let CacheLayer::Registry(layer) = layer else { return Err(CacheError::Unknown { index }) };
        let registry = layer.registry.as_ref().unwrap_or(deployment);
        let reference =
            ImageReference::tagged(&registry.host(), &registry.repository(image_name), &layer.tag)
                .map_err(|source| CacheError::Reference { index, source })?;
        let mode = match layer.mode {
            CacheMode::Min => Mode::Min,
            CacheMode::Max => Mode::Max,
            CacheMode::Inline => Mode::Inline,
            _ if is_google_container_registry(&registry.hostname) => Mode::Inline,
            _ => Mode::Max,
        };
        Ok(Self { index, reference, registry, mode, export: layer.export })
    }

    /// Takes in another layer of the same cache. Only layers that are written have a mode: reading
    /// is the same for all.
    fn join(&mut self, other: &Self) -> Result<(), CacheError> {
        if self.export && other.export && self.mode != other.mode {
            return Err(CacheError::Contradiction {
                first: self.index,
                second: other.index,
                reference: self.reference.to_string(),
            });
        }
        if other.export {
            self.mode = other.mode;
        }
        self.export |= other.export;
        Ok(())
    }

    fn attributes(&self) -> BTreeMap<&'static str, String> {
        // Which registries speak plain HTTP is in the daemon's own configuration. The attribute
        // `registry.insecure` would rather switch off the look at certificates.
        BTreeMap::from([("ref", self.reference.to_string())])
    }

    fn export_attributes(&self, compression_level: u8) -> BTreeMap<&'static str, String> {
        let mut attributes = self.attributes();
        attributes.insert(COMPRESSION_LEVEL, compression_level.to_string());
        let mode = if self.mode == Mode::Min { "min" } else { "max" };
        attributes.insert("mode", mode.to_owned());
        // A cache that cannot be written costs time in the next build, but this one is done.
        attributes.insert("ignore-error", "true".to_owned());
        if is_elastic_container_registry(&self.registry.hostname) {
            // It refuses the older form, an index of layers, which is what daemons before 0.21 write
            // unless an attribute says otherwise.
            attributes.insert("image-manifest", "true".to_owned());
            attributes.insert("oci-mediatypes", "true".to_owned());
        }
        attributes
    }
}

#[cfg(test)]
mod tests;
