use serde::Serialize;

use crate::document::decode::Fields;
use crate::document::issue::{Issue, item_issues};
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::provider::base_registries;
use crate::provider::names::image_issue;
use crate::{DeploymentRegistry, ProviderConfig};

/// How a Docker daemon in the cluster builds, which all projects share: the provider's field `clusterDocker`. Its
/// namespace, resources, volume and node selector are in `gardenSystemNamespace`, `resources.builder`,
/// `storage.builder` and `systemNodeSelector`.
///
/// ```
/// use garden_config::ClusterDockerOptions;
///
/// let mut options = ClusterDockerOptions::default();
/// assert_eq!(options.image_from("mirror.example/hub"), "mirror.example/hub/library/docker:28.5.2-dind");
/// options.image = Some("registry.example/docker:29-dind".to_owned());
/// assert_eq!(options.image_from("mirror.example/hub"), "registry.example/docker:29-dind");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ClusterDockerOptions {
    /// Whether the daemon builds with the `BuildKit` in it. Default: no.
    #[serde(rename = "enableBuildKit")]
    pub enable_buildkit: bool,
    /// The daemon's image: a Docker daemon 20.10 or later, with its `docker` command and busybox' `sh` and `flock`, as the
    /// official ones have whose tags end in `-dind`. An extension: Garden has no such field. Default: none, so that
    /// [`ClusterDockerOptions::DEFAULT_IMAGE`] is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Further registries, those of base images, that the daemon must reach by plain HTTP (`insecure`) or with
    /// certificates of their own (`ca_certificate`). Any other needs no entry. An extension: Garden has no such field.
    /// Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<DeploymentRegistry>,
}

impl ClusterDockerOptions {
    /// The daemon's image that is used unless another is set.
    pub const DEFAULT_IMAGE: &str = "docker.io/library/docker:28.5.2-dind";

    /// Returns the daemon's image: the one that is set, or the default from the registry `domain` in place of `docker.io`.
    pub fn image_from(&self, domain: &str) -> String {
        match (&self.image, Self::DEFAULT_IMAGE.strip_prefix(ProviderConfig::UTIL_IMAGE_REGISTRY_DOMAIN)) {
            (None, Some(path)) => format!("{domain}{path}"),
            (image, _) => image.as_deref().unwrap_or(Self::DEFAULT_IMAGE).to_owned(),
        }
    }

    /// Reads the field `clusterDocker`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, "`clusterDocker`", problems) else { return Self::default() };
        let options = Self {
            enable_buildkit: fields.flag("enableBuildKit").unwrap_or(false),
            image: fields.text("image").map(str::to_owned),
            registries: base_registries::read_all(&fields, problems),
        };
        fields.finish_with(|| options.own_issues());
        options
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let registries = item_issues("registries", &self.registries, base_registries::issues);
        self.own_issues().into_iter().chain(registries).collect()
    }

    /// The rules that are not those of its parts.
    fn own_issues(&self) -> Vec<Issue> {
        let image = self.image.as_deref().and_then(|image| image_issue(image, Self::DEFAULT_IMAGE));
        image.into_iter().chain(base_registries::repeated(&self.registries)).collect()
    }
}
