use garden_build_core::ImageReference;
use serde::Serialize;

use crate::DeploymentRegistry;
use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Node;
use crate::document::problems::Problems;

/// One layer of the cache that outlives a `BuildKit` daemon: an item of `clusterBuildkit.cache`.
///
/// ```
/// use garden_config::{CacheLayer, RegistryCache};
///
/// let mut main = RegistryCache::tagged("_buildcache-main");
/// main.export = false;
/// let layers = [CacheLayer::tagged("_buildcache-my-branch"), main.into()];
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
#[non_exhaustive]
pub enum CacheLayer {
    /// `registry`: in a registry.
    Registry(RegistryCache),
}

/// A cache in a registry: [`CacheLayer::Registry`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(rename = "CacheLayer", description = "One layer of the cache that outlives a `BuildKit` daemon: an item of `clusterBuildkit.cache`.", extend("required" = ["type"])))]
#[non_exhaustive]
pub struct RegistryCache {
    /// What of a build is cached. Default: [`CacheMode::Auto`].
    pub mode: CacheMode,
    /// The tag that the cache has in the image's repository: at most 128 letters, digits, `_`, `.` and `-`, with a letter, digit or `_` first. Default: [`RegistryCache::DEFAULT_TAG`].
    pub tag: String,
    /// The registry that holds the cache, in a repository named like the image. Default: the
    /// deployment registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<DeploymentRegistry>,
    /// Whether builds write the layer, or only read it. Default: they write it.
    pub export: bool,
}

/// What of a build a cache layer holds, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CacheMode {
    /// `auto`: what suits the registry, [`CacheMode::Max`] wherever it works.
    #[default]
    Auto,
    /// `min`: the layers of the image itself.
    Min,
    /// `max`: the layers of all stages.
    Max,
    /// `inline`: like `min`, within the image, which is pushed under the cache's tag as well; for
    /// registries that take nothing but images.
    Inline,
}

const MODES: [(&str, CacheMode); 4] = [
    ("auto", CacheMode::Auto),
    ("min", CacheMode::Min),
    ("max", CacheMode::Max),
    ("inline", CacheMode::Inline),
];

impl CacheMode {
    /// Returns the mode's name in a project file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Min => "min",
            Self::Max => "max",
            Self::Inline => "inline",
        }
    }
}

impl CacheLayer {
    /// Reads and writes the cache under `tag` in the deployment registry.
    pub fn tagged(tag: impl Into<String>) -> Self {
        RegistryCache::tagged(tag).into()
    }

    /// Returns the registry that holds it, if it is not the deployment registry.
    pub fn registry(&self) -> Option<&DeploymentRegistry> {
        let Self::Registry(cache) = self;
        cache.registry.as_ref()
    }

    /// Reads an item of `cache`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        RegistryCache::read(node, problems).map(Self::Registry)
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let Self::Registry(cache) = self;
        cache.issues()
    }
}

impl From<RegistryCache> for CacheLayer {
    fn from(cache: RegistryCache) -> Self {
        Self::Registry(cache)
    }
}

impl RegistryCache {
    /// The tag that is used unless another is set.
    pub const DEFAULT_TAG: &str = "_buildcache";

    /// Reads and writes the cache under `tag` in the deployment registry.
    pub fn tagged(tag: impl Into<String>) -> Self {
        Self { mode: CacheMode::default(), tag: tag.into(), registry: None, export: true }
    }

    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let fields = Fields::open(node, "a cache layer", problems)?;
        if fields.node("type").is_none() {
            let hint = "write `type: registry`, the one type there is".to_owned();
            problems.report(fields.position(), "a cache layer needs the field `type`", Some(hint));
        }
        fields.choice("type", &[("registry", ())]);
        let registry = fields.node("registry");
        let layer = Self {
            mode: fields.choice("mode", &MODES).unwrap_or_default(),
            tag: fields.text("tag").unwrap_or(Self::DEFAULT_TAG).to_owned(),
            registry: registry.and_then(|node| DeploymentRegistry::read(node, "`registry`", problems)),
            export: fields.flag("export").unwrap_or(true),
        };
        fields.finish_with(|| layer.own_issues());
        Some(layer)
    }

    fn issues(&self) -> Vec<Issue> {
        let registry = self.registry.iter().flat_map(DeploymentRegistry::issues);
        let registry = registry.map(|issue| issue.within("registry"));
        self.own_issues().into_iter().chain(registry).collect()
    }

    /// The rules that are not its registry's own.
    fn own_issues(&self) -> Vec<Issue> {
        let issue = (!ImageReference::is_tag(&self.tag)).then(|| {
            let hint = "use at most 128 letters, digits, `_`, `.` and `-`, with a letter, digit or `_` first";
            Issue::new("tag", format!("`{}` cannot be the tag of an image", self.tag), hint)
        });
        issue.into_iter().collect()
    }
}

impl Default for RegistryCache {
    fn default() -> Self {
        Self::tagged(Self::DEFAULT_TAG)
    }
}

impl Default for CacheLayer {
    fn default() -> Self {
        RegistryCache::default().into()
    }
}
