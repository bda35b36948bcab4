use serde::Serialize;

use crate::ProviderConfig;
use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::provider::names::image_issue;

/// How the registry within the cluster runs: the provider's field `inClusterRegistry`, an extension that Garden does
/// not have. Its resources, volume, node selector and tolerations are in `resources.registry`, `storage.registry`,
/// `systemNodeSelector` and `registryProxyTolerations`.
///
/// ```
/// use garden_config::InClusterRegistryOptions;
///
/// let mut options = InClusterRegistryOptions::default();
/// assert_eq!(options.image_from("mirror.example/hub"), "mirror.example/hub/library/registry:2.8.3");
/// options.image = Some("registry.example/registry:3.0.0".to_owned());
/// assert_eq!(options.image_from("mirror.example/hub"), "registry.example/registry:3.0.0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct InClusterRegistryOptions {
    /// The image of the registry, and of what makes it reachable on the nodes: CNCF distribution, version 2.8 or 3,
    /// with `registry`, `sh` and busybox' `nc`, `awk`, `find` and `stat` in it, as the official images have. Default: none, so
    /// that [`InClusterRegistryOptions::DEFAULT_IMAGE`] is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether only those can push who know a password, which `Builder::init` makes and keeps in the Secret `garden-docker-registry-login`
    /// of `gardenSystemNamespace`: builds read it there. Everybody in the cluster can still pull. All projects
    /// that use the registry need the same value. To let everybody push again, delete that Secret, and run `Builder::init` without this. Default:
    /// false, so that every pod of the cluster can push.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub password_for_pushes: bool,
}

impl InClusterRegistryOptions {
    /// The image that is used unless another is set.
    pub const DEFAULT_IMAGE: &str = "docker.io/library/registry:2.8.3";

    /// Returns the image: the one that is set, or the default from the registry `domain` in place of `docker.io`.
    pub fn image_from(&self, domain: &str) -> String {
        match (&self.image, Self::DEFAULT_IMAGE.strip_prefix(ProviderConfig::UTIL_IMAGE_REGISTRY_DOMAIN)) {
            (None, Some(path)) => format!("{domain}{path}"),
            (image, _) => image.as_deref().unwrap_or(Self::DEFAULT_IMAGE).to_owned(),
        }
    }

    /// Reads the field `inClusterRegistry`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, "`inClusterRegistry`", problems) else {
            return Self::default();
        };
        let options = Self {
            image: fields.text("image").map(str::to_owned),
            password_for_pushes: fields.flag("passwordForPushes").unwrap_or_default(),
        };
        fields.finish_with(|| options.issues());
        options
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let image = self.image.as_deref().and_then(|image| image_issue(image, Self::DEFAULT_IMAGE));
        image.into_iter().collect()
    }
}
