use std::collections::BTreeMap;

use serde::Serialize;

use crate::document::decode::Fields;
use crate::document::issue::{Issue, item_issues};
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::provider::base_registries;
use crate::provider::names::image_issue;
use crate::{CacheLayer, DeploymentRegistry, PersistentStorage, ProviderConfig, Toleration};

/// How a `BuildKit` daemon in the project's namespace builds: the provider's field `clusterBuildkit`.
///
/// ```
/// use garden_config::ClusterBuildkitOptions;
///
/// let mut options = ClusterBuildkitOptions::default();
/// assert_eq!(options.image(), ClusterBuildkitOptions::DEFAULT_IMAGE);
/// options.rootless = true;
/// assert_eq!(options.image(), ClusterBuildkitOptions::DEFAULT_ROOTLESS_IMAGE);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct ClusterBuildkitOptions {
    /// The caches in registries. They are asked in this order, and the first that has anything for a
    /// build serves it. None switches them off. Default: [`CacheLayer::default`] alone.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::RegistryCache>"))]
    pub cache: Vec<CacheLayer>,
    /// Whether the daemon runs as an ordinary user of its node, which not every cluster supports. RUN steps of all its builds then
    /// share the process table of its pod, so secrets are refused unless `builds_trust_each_other` is set. Default: no.
    pub rootless: bool,
    /// Whether root in the daemon's pod is root on its node. `false` gives the pod a user namespace of its own, as the field
    /// `hostUsers` of Kubernetes' pods does: then the daemon, and who breaks out of a build step, is nobody on the node, while builds
    /// are as separate from each other as with a privileged daemon. It takes Kubernetes 1.33 or later, and nodes that support it: Linux 6.3,
    /// containerd 2 with runc 1.2, or CRI-O 1.25. Not together with `rootless`. An extension: Garden has no such field. Default: yes.
    pub host_users: bool,
    /// Whether all who build on a rootless daemon may read each other's secrets. It has an effect with `rootless` only, where a step can
    /// read the secrets of other running builds, and use their SSH agents. An extension: Garden has no such field. Default: no, so
    /// that builds with secrets or SSH agents are refused there.
    pub builds_trust_each_other: bool,
    /// The daemon's image: `BuildKit` 0.17 or later, and one that fits `rootless` if it is set. An extension: Garden has no such
    /// field. Default: none, so that [`ClusterBuildkitOptions::image`] chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Labels that a node must have to run the daemon. Default: none.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the daemon tolerates besides `garden-build=true:NoSchedule`, which it always does.
    /// Default: none.
    pub tolerations: Vec<Toleration>,
    /// Annotations of the daemon's Deployment and of its pod. Default: none.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the daemon's service account, which gives it an identity at a cloud provider.
    /// Default: none.
    pub service_account_annotations: BTreeMap<String, String>,
    /// The volume that keeps the daemon's local cache while no pod runs. Default: none, so the local
    /// cache goes with the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<PersistentStorage>,
    /// Further registries, those of base images, that the daemon must reach by plain HTTP
    /// (`insecure`) or with certificates of their own (`ca_certificate`). Any other needs no entry.
    /// An extension: Garden has no such field. Default: none.
    pub registries: Vec<DeploymentRegistry>,
    /// Which registry to ask first for the images of another one: hosts, perhaps with ports and paths,
    /// such as `docker.io` and `mirror.example/docker-hub`. What the mirror does not have comes from the
    /// registry itself. An extension: Garden has no such field. Default: none.
    pub registry_mirrors: BTreeMap<String, String>,
    /// Whether the daemon also listens on TCP, with certificates on both sides; programs in the cluster
    /// connect to its pod directly. Others go through the API server all the same. An extension: Garden
    /// has no such field. Default: no.
    pub listen: bool,
    /// How hard the daemon compresses the layers that it makes, from 0 (not at all) to 9, as gzip has it. Layers of level 9 are
    /// smaller, and take several times as long. An extension: Garden has no such field. Default: 1.
    #[cfg_attr(feature = "schema", schemars(range(max = 9)))]
    pub compression_level: u8,
}

impl ClusterBuildkitOptions {
    /// The compression of layers that is used unless another is set. A level of 6, the daemon's own choice, makes layers of source
    /// code a quarter smaller, and takes more than three times as long: in most clusters, that is more than sending the rest takes.
    pub const DEFAULT_COMPRESSION_LEVEL: u8 = 1;

    const MAX_COMPRESSION_LEVEL: u8 = 9;

    /// The daemon's image that is used unless another is set.
    pub const DEFAULT_IMAGE: &str = "docker.io/moby/buildkit:v0.26.3";

    /// The daemon's image that is used with `rootless`, unless another is set.
    pub const DEFAULT_ROOTLESS_IMAGE: &str = "docker.io/moby/buildkit:v0.26.3-rootless";

    /// Returns the daemon's image: the one that is set, or the default that fits `rootless`.
    pub fn image(&self) -> &str {
        let default = if self.rootless { Self::DEFAULT_ROOTLESS_IMAGE } else { Self::DEFAULT_IMAGE };
        self.image.as_deref().unwrap_or(default)
    }

    /// Returns the daemon's image: the one that is set, or the default from the registry `domain` in place of
    /// `docker.io`.
    pub fn image_from(&self, domain: &str) -> String {
        match (&self.image, self.image().strip_prefix(ProviderConfig::UTIL_IMAGE_REGISTRY_DOMAIN)) {
            (None, Some(path)) => format!("{domain}{path}"),
            _ => self.image().to_owned(),
        }
    }

    /// Reads the field `clusterBuildkit`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, "`clusterBuildkit`", problems) else { return Self::default() };
        let mut options = Self {
            rootless: fields.flag("rootless").unwrap_or(false),
            host_users: fields.flag("hostUsers").unwrap_or(true),
            builds_trust_each_other: fields.flag("buildsTrustEachOther").unwrap_or(false),
            listen: fields.flag("listen").unwrap_or(false),
            compression_level: fields
                .integer("compressionLevel", 0..=i64::from(Self::MAX_COMPRESSION_LEVEL))
                .unwrap_or(Self::DEFAULT_COMPRESSION_LEVEL),
            image: fields.text("image").map(str::to_owned),
            node_selector: fields.text_map("nodeSelector"),
            annotations: fields.text_map("annotations"),
            service_account_annotations: fields.text_map("serviceAccountAnnotations"),
            registry_mirrors: fields.text_map("registryMirrors"),
            storage: fields
                .node("storage")
                .and_then(|node| PersistentStorage::read(node, "`storage`", problems)),
            ..Self::default()
        };
        // An empty list is not the same as none.
        if fields.node("cache").is_some() {
            let layers = fields.list("cache").into_iter();
            options.cache = layers.filter_map(|item| CacheLayer::read(item, problems)).collect();
        }
        options.tolerations = Toleration::read_all(&fields, "tolerations", problems);
        options.registries = base_registries::read_all(&fields, problems);
        fields.finish_with(|| options.own_issues());
        options
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let layers = item_issues("cache", &self.cache, CacheLayer::issues);
        let tolerations = item_issues("tolerations", &self.tolerations, Toleration::issues);
        let storage = self.storage.iter().flat_map(PersistentStorage::issues);
        let storage = storage.map(|issue| issue.within("storage"));
        let registries = item_issues("registries", &self.registries, base_registries::issues);
        self.own_issues()
            .into_iter()
            .chain(layers)
            .chain(tolerations)
            .chain(storage)
            .chain(registries)
            .collect()
    }

    /// The rules that are not those of its parts.
    fn own_issues(&self) -> Vec<Issue> {
        let image = image_issue(self.image(), Self::DEFAULT_IMAGE);
        let mirrors = self.registry_mirrors.iter().flat_map(|(registry, mirror)| [registry, mirror]);
        let mirrors = mirrors.filter_map(|name| mirror_issue(name));
        let users = (self.rootless && !self.host_users).then(|| {
            let remedy = "leave out `rootless`: a daemon without `hostUsers` is nobody on its node, and keeps builds apart";
            Issue::new("hostUsers", "`hostUsers: false` and `rootless: true` exclude each other", remedy)
        });
        let level = (self.compression_level > Self::MAX_COMPRESSION_LEVEL).then(|| {
            let message = format!("`compressionLevel` is {}", self.compression_level);
            Issue::new("compressionLevel", message, "take a level from 0 to 9")
        });
        image
            .into_iter()
            .chain(base_registries::repeated(&self.registries))
            .chain(mirrors)
            .chain(users)
            .chain(level)
            .collect()
    }
}

impl Default for ClusterBuildkitOptions {
    fn default() -> Self {
        Self {
            cache: vec![CacheLayer::default()],
            rootless: false,
            host_users: true,
            builds_trust_each_other: false,
            image: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            annotations: BTreeMap::new(),
            service_account_annotations: BTreeMap::new(),
            storage: None,
            registries: Vec::new(),
            registry_mirrors: BTreeMap::new(),
            listen: false,
            compression_level: Self::DEFAULT_COMPRESSION_LEVEL,
        }
    }
}

/// A name as it is written in an image's name. A scheme is the mistake that suggests itself, as the
/// Docker daemon wants one.
fn mirror_issue(name: &str) -> Option<Issue> {
    let is_plain = |character: char| character.is_ascii_graphic() && !"\"'\\".contains(character);
    let is_name = !name.is_empty() && !name.contains("://") && name.chars().all(is_plain);
    (!is_name).then(|| {
        let message = format!("`registryMirrors` has `{name}`, which is not the name of a registry");
        Issue::new("registryMirrors", message, "write the host only, as in `docker.io: mirror.example:5000`")
    })
}
