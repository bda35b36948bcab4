//! The registry within the cluster: installed once, used by all builds that have no other.
//!
//! One pod serves it, with its images on a volume. Within the cluster it is a Service; on every node a small proxy
//! hands `127.0.0.1:5000` on to that Service, as the kubelet, which pulls images, knows no Services. So an image has
//! the name `127.0.0.1:5000/…` wherever it is run, and is pushed to [`InClusterRegistry::host`].
//!
//! * `spec`: the objects, as functions of [`RegistrySettings`].
//! * `words`: what people hear of them.
//! * `install`: makes sure of them, waits until the registry serves, and says why it does not.
//! * `login`: the password without which nobody pushes, if there is to be one.
//! * `network_policies`: who may connect to its pods.
//! * `check`: has every node pull an image.
//! * `server`: what the registry says of itself.
//! * `collect`: deletes images, which its server lets nobody do, and frees their room.
//! * `storage`: what is on its volume.
//! * `images_in_use`: which images workloads name, that a clean-up has to keep.
//!
//! Why: docs/decisions/74-the-cluster-registry-has-two-names.md

use std::collections::{BTreeMap, BTreeSet};

use garden_config::{Namespace, PersistentStorage, ProviderConfig, Resources, Toleration};
use k8s_openapi::api::core::v1::Container;

use crate::api::Cluster;
use crate::registries::RegistryCredentials;
use crate::service::{ManagedDeployment, service_selector};

mod check;
mod collect;
mod images_in_use;
mod install;
mod judge;
mod login;
mod network_policies;
mod server;
mod spec;
mod storage;
mod words;

pub use check::CheckedNodes;
pub use collect::Collected;
pub use images_in_use::{NamedImages, images_in_use};
pub use server::ServerRun;
pub use words::{RegistryRemedies, RegistryWords};

/// What the provider's configuration says about the registry within the cluster.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// The namespace that it runs in.
    pub namespace: Namespace,
    /// The image of the registry, and of the proxies on the nodes.
    pub image: String,
    /// The registry's resources.
    pub resources: Resources,
    /// The volume for its images.
    pub storage: PersistentStorage,
    /// Labels that a node must have to run the registry.
    pub node_selector: BTreeMap<String, String>,
    /// Whether only those can push who know the password.
    pub password_for_pushes: bool,
    /// Taints that the proxies tolerate, besides `garden-system=true:NoSchedule`.
    pub proxy_tolerations: Vec<Toleration>,
    /// The names of the Secrets in its namespace with which nodes pull its image. None are known before they are brought there.
    pub pull_secrets: BTreeSet<String>,
    /// Whether `NetworkPolicies` say who may connect to its pods and to those of the proxies.
    pub network_policies: bool,
}

impl RegistrySettings {
    /// Reads the settings out of the provider's configuration.
    pub fn new(provider: &ProviderConfig) -> Self {
        Self {
            namespace: Namespace::new(&provider.garden_system_namespace),
            image: provider.in_cluster_registry.image_from(&provider.util_image_registry_domain),
            resources: provider.resources.registry.clone(),
            storage: provider.storage.registry.clone(),
            node_selector: provider.system_node_selector.clone(),
            password_for_pushes: provider.in_cluster_registry.password_for_pushes,
            proxy_tolerations: provider.registry_proxy_tolerations.clone(),
            pull_secrets: BTreeSet::new(),
            network_policies: provider.network_policies,
        }
    }

    /// Returns a container for a builder's pod in the registry's namespace in which `127.0.0.1:5000` is then the registry, as it is on
    /// the nodes; but where pushes need a password, it is asked for here, for pulls as well. It ends at once when the cluster stops it.
    pub fn forwarding_container(&self) -> Container {
        spec::forward(self, self.push_port())
    }

    /// Returns the port of the Service, and of the pod, that takes pushes.
    pub fn push_port(&self) -> u16 {
        if self.password_for_pushes { InClusterRegistry::PUSH_PORT } else { InClusterRegistry::PORT }
    }
}

/// The registry within a cluster, whether it is installed or not.
#[derive(Clone, Debug)]
pub struct InClusterRegistry {
    cluster: Cluster,
    settings: RegistrySettings,
    credentials: RegistryCredentials,
    words: &'static RegistryWords,
}

impl InClusterRegistry {
    /// The name of the registry's Deployment, Service, volume claim and so on.
    pub const NAME: &str = "garden-docker-registry";

    /// The name of the `DaemonSet` with the proxies on the nodes.
    pub const PROXY: &str = "garden-registry-proxy";

    /// The name of the registry's container.
    pub const CONTAINER: &str = "registry";

    /// The name of the proxies' container.
    const PROXY_CONTAINER: &str = "proxy";

    /// The port of the Service, of the pod, and on every node. If pushes need a password, it only serves pulls.
    pub const PORT: u16 = 5000;

    /// The port of the Service, and of the pod, that takes pushes if they need a password.
    pub const PUSH_PORT: u16 = 5001;

    /// The name of the Secret with the user and the password for pushes.
    pub const LOGIN: &str = "garden-docker-registry-login";

    /// The name of the container that serves pulls if pushes need a password.
    const READER_CONTAINER: &str = "reader";

    /// Where the registry keeps its images, in its container.
    pub const STORAGE: &str = "/var/lib/registry";

    /// Describes the registry of `cluster` that `settings` are about. Nodes pull its image with `credentials`; what is said of it has these
    /// `words`.
    pub fn new(
        cluster: Cluster,
        settings: RegistrySettings,
        credentials: RegistryCredentials,
        words: &'static RegistryWords,
    ) -> Self {
        Self { cluster, settings, credentials, words }
    }

    /// Returns where builders within the cluster, and [`ClusterDialer`](crate::ClusterDialer), reach it, by plain
    /// HTTP. Without the cluster's domain, which need not be `cluster.local`.
    pub fn host(&self) -> String {
        format!("{}.{}.svc:{}", Self::NAME, self.namespace(), self.settings.push_port())
    }

    /// Returns the namespace that it runs in.
    pub fn namespace(&self) -> &str {
        &self.settings.namespace.name
    }

    /// Returns the label selector of its pod.
    pub fn selector() -> String {
        service_selector(Self::NAME)
    }

    fn service(&self) -> ManagedDeployment {
        ManagedDeployment::new(&self.cluster, self.namespace(), &self.words.registry)
    }
}
