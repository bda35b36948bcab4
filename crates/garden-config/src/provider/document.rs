//! A provider as it stands in a project file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::{
    BuildMode, ClusterBuildkitOptions, ClusterDockerOptions, DeploymentRegistry, IdleAfter,
    InClusterRegistryOptions, KanikoOptions, Namespace, ProviderConfig, ProviderKind, ProviderResources,
    ProviderStorage, ProxyOptions, SecretRef, TelemetryOptions, Toleration,
};

/// The fields of a [`ProviderConfig`], where those of `buildMode` lie side by side.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename = "Provider", rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("required" = ["name"])))]
pub(crate) struct ProviderDocument {
    /// Which provider it is.
    pub(crate) name: ProviderKind,
    /// How images are built. Default: `local-docker`.
    pub(crate) build_mode: ModeName,
    /// How kaniko builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kaniko: Option<KanikoOptions>,
    /// How a `BuildKit` daemon in the project's namespace builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_buildkit: Option<ClusterBuildkitOptions>,
    /// How a Docker daemon in the cluster builds. Deprecated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_docker: Option<ClusterDockerOptions>,
    /// The context of the kubeconfig. Default: the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// The kubeconfig file. Default: what `kubectl` would use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The project's namespace in the cluster: a name, or a mapping. Default: the names of the project and of the
    /// environment's namespace, joined by `-`.
    #[cfg_attr(feature = "schema", schemars(with = "NamespaceOrName"))]
    pub(crate) namespace: Namespace,
    /// Where images are pushed to. Default: the registry within the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deployment_registry: Option<DeploymentRegistry>,
    /// How the registry within the cluster runs.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) in_cluster_registry: InClusterRegistryOptions,
    /// The Secrets with the credentials for registries; later ones win. Those with a user and a password for the registry of an image
    /// that pods are made of for building, such as the builder's own, are copied to where the pods are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) image_pull_secrets: Vec<SecretRef>,
    /// The Secrets that are copied to the namespaces where images run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) copy_secrets: Vec<SecretRef>,
    /// What builders, and the services in the cluster, may use and are sure to get.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) resources: ProviderResources,
    /// The volumes of the services in the cluster.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) storage: ProviderStorage,
    /// The proxies of what builds in the cluster.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) proxies: ProxyOptions,
    /// Where builders in the cluster send their spans.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) telemetry: TelemetryOptions,
    /// For how long kaniko's context service, or the `BuildKit` daemon of a namespace, may be unused before it is stopped. The
    /// next build starts it again. Default: `4h`.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) idle_after: IdleAfter,
    /// Whether `NetworkPolicies` say who may connect to the pods of what is installed in the cluster. Default: `false`.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) network_policies: bool,
    /// The namespace of the services in the cluster. Default: `garden-system`.
    pub(crate) garden_system_namespace: String,
    /// Taints that what makes the registry within the cluster reachable on the nodes tolerates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) registry_proxy_tolerations: Vec<Toleration>,
    /// Labels that a node must have to run the services in the cluster.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) system_node_selector: BTreeMap<String, String>,
    /// The registry that the images of the daemons and of the registry within the cluster come from. Default: `docker.io`.
    pub(crate) util_image_registry_domain: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The words of the field `buildMode`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename = "BuildMode", rename_all = "kebab-case")]
pub(crate) enum ModeName {
    /// By the Docker daemon of this machine.
    LocalDocker,
    /// By a kaniko pod for each build.
    Kaniko,
    /// By a `BuildKit` daemon in the project's namespace.
    ClusterBuildkit,
    /// By a Docker daemon in the cluster that everyone shares. Deprecated.
    ClusterDocker,
}

/// The two ways to write the field `namespace`.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum NamespaceOrName {
    /// A name.
    Name(String),
    /// A name with what goes with it.
    Namespace(Namespace),
}

impl From<&ProviderConfig> for ProviderDocument {
    fn from(provider: &ProviderConfig) -> Self {
        let provider = provider.clone();
        let (mut kaniko, mut cluster_buildkit, mut cluster_docker) = (None, None, None);
        let build_mode = match provider.build_mode {
            BuildMode::LocalDocker => ModeName::LocalDocker,
            BuildMode::Kaniko(options) => {
                kaniko = Some(options);
                ModeName::Kaniko
            }
            BuildMode::ClusterBuildkit(options) => {
                cluster_buildkit = Some(options);
                ModeName::ClusterBuildkit
            }
            BuildMode::ClusterDocker(options) => {
                cluster_docker = Some(options);
                ModeName::ClusterDocker
            }
        };
        Self {
            name: provider.kind,
            build_mode,
            kaniko,
            cluster_buildkit,
            cluster_docker,
            context: provider.context,
            kubeconfig: provider.kubeconfig,
            namespace: provider.namespace,
            deployment_registry: provider.deployment_registry,
            in_cluster_registry: provider.in_cluster_registry,
            image_pull_secrets: provider.image_pull_secrets,
            copy_secrets: provider.copy_secrets,
            resources: provider.resources,
            storage: provider.storage,
            proxies: provider.proxies,
            telemetry: provider.telemetry,
            idle_after: provider.idle_after,
            network_policies: provider.network_policies,
            garden_system_namespace: provider.garden_system_namespace,
            registry_proxy_tolerations: provider.registry_proxy_tolerations,
            system_node_selector: provider.system_node_selector,
            util_image_registry_domain: provider.util_image_registry_domain,
        }
    }
}
