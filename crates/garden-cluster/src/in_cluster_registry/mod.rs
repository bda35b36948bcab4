//! The registry within the cluster: installed once, used by all builds that have no other.
//!
//! One pod serves it, with its images on a volume. Within the cluster it is a Service; on every node a small proxy
//! hands `127.0.0.1:5000` on to that Service, as the kubelet, which pulls images, knows no Services. So an image has
//! the name `127.0.0.1:5000/…` wherever it is run, and is pushed to [`InClusterRegistry::host`].
//!
//! * `spec`: the objects, as functions of [`RegistrySettings`].
//! * `install`: makes sure of them, waits until the registry serves, and says why it does not.
//! * `check`: has every node pull an image.
//! * `server`: what the registry says of itself.
//! * `collect`: frees the room of deleted images.
//! * `storage`: what is on its volume.
//! * `images_in_use`: which images workloads name, that a clean-up has to keep.

use std::collections::BTreeMap;

use garden_config::{Namespace, PersistentStorage, ProviderConfig, Resources, SecretRef, Toleration};
use k8s_openapi::api::core::v1::Container;

use crate::api::Cluster;
use crate::diagnosis::Remedies;
use crate::service::{DeploymentWords, ManagedDeployment, VolumeWords, service_selector};

mod check;
mod collect;
mod images_in_use;
mod install;
mod judge;
mod server;
mod spec;
mod storage;

pub use collect::Collected;
pub use images_in_use::images_in_use;
pub use server::ServerRun;

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
    /// Taints that the proxies tolerate, besides `garden-system=true:NoSchedule`.
    pub proxy_tolerations: Vec<Toleration>,
    /// The Secrets for pulling its image. Only those in its namespace can be used for that.
    pub pull_secrets: Vec<SecretRef>,
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
            proxy_tolerations: provider.registry_proxy_tolerations.clone(),
            pull_secrets: provider.image_pull_secrets.clone(),
        }
    }

    /// Returns a container for a pod in the registry's namespace in which `127.0.0.1:5000` is then the registry, as it is on
    /// the nodes. It ends at once when it is told to.
    pub fn forwarding_container(&self) -> Container {
        spec::forward(self)
    }
}

/// The registry within a cluster, whether it is installed or not.
#[derive(Clone, Debug)]
pub struct InClusterRegistry {
    cluster: Cluster,
    settings: RegistrySettings,
}

const IMAGE: &str = "check `inClusterRegistry.image`, and that nodes can reach where it comes from; `utilImageRegistryDomain` names another place";
const START: &str = "check that `inClusterRegistry.image` is a registry with `sh` and `nc`, and that user 1000 may write to its volume";
const HOST_PORT: &str = "the nodes reach the registry by a host port, so its namespace needs the label \
                         `pod-security.kubernetes.io/enforce: privileged`; set it, or push to a registry outside of the cluster";
const FOREIGN: &str = "uninstall it there, or set `gardenSystemNamespace` to another namespace, if nothing uses the port 5000 of the nodes";
const MISSING: &str = "install it with `Builder::init`, or push to a registry outside of the cluster";

/// What is said of the registry, whose options [`RegistrySettings::new`] reads.
const WORDS: DeploymentWords = DeploymentWords {
    what: "the registry",
    name: InClusterRegistry::NAME,
    container: InClusterRegistry::CONTAINER,
    volume: Some(VolumeWords {
        claim: InClusterRegistry::NAME,
        storage_class: "storage.registry.storageClass",
        keeps_size: "set `storage.registry.size` to its size",
        quota: "set `storage.registry.size` to less, or raise the namespace's ResourceQuota",
    }),
    remedies: Remedies {
        memory: "raise `resources.registry.limits.memory`, and run `Builder::init`",
        evicted: "raise `resources.registry.requests`, so that it gets a node with room, and run `Builder::init`",
        scheduling: "check `systemNodeSelector` and `resources.registry.requests` against the cluster's nodes",
        port: None,
        image: IMAGE,
        start: START,
        quota: "lower `resources.registry`, or raise the namespace's ResourceQuota",
        pod_security: "label the namespace with a Pod Security level that allows the registry, or push to a registry outside of the cluster",
        privileges: "allow the registry's pod in its namespace, or push to a registry outside of the cluster",
    },
    ended: START,
    complaint: None,
    foreign: FOREIGN,
    missing: MISSING,
    longest: Some(DeploymentWords::USUALLY_LONGEST),
};

/// What is said of its proxies. No option has their resources, and no selector keeps them from a node.
const PROXY_WORDS: DeploymentWords = DeploymentWords {
    what: "the registry's proxy on a node",
    name: InClusterRegistry::PROXY,
    container: "proxy",
    volume: None,
    remedies: Remedies {
        memory: "see what else runs in its pod: the proxy itself needs little",
        evicted: "see what its node lacks: the proxy itself needs little",
        scheduling: "each node needs a little CPU and memory that is free for the proxy, or a taint that the proxy does not tolerate",
        port: Some(
            "another pod has taken port 5000 of this node, such as the registry proxy of Garden itself; remove it",
        ),
        image: IMAGE,
        start: START,
        quota: "raise the namespace's ResourceQuota: each node has a pod of the proxy's",
        pod_security: HOST_PORT,
        privileges: HOST_PORT,
    },
    ended: START,
    complaint: None,
    foreign: FOREIGN,
    missing: MISSING,
    longest: Some(DeploymentWords::USUALLY_LONGEST),
};

impl InClusterRegistry {
    /// The name of the registry's Deployment, Service, volume claim and so on.
    pub const NAME: &str = "garden-docker-registry";

    /// The name of the `DaemonSet` with the proxies on the nodes.
    pub const PROXY: &str = "garden-registry-proxy";

    /// The name of the registry's container.
    pub const CONTAINER: &str = "registry";

    /// The port of the Service, of the pod, and on every node.
    pub const PORT: u16 = 5000;

    /// Where the registry keeps its images, in its container.
    pub const STORAGE: &str = "/var/lib/registry";

    /// Describes the registry of `cluster` that `settings` are about.
    pub fn new(cluster: Cluster, settings: RegistrySettings) -> Self {
        Self { cluster, settings }
    }

    /// Returns where builders within the cluster, and [`ClusterDialer`](crate::ClusterDialer), reach it, by plain
    /// HTTP. Without the cluster's domain, which need not be `cluster.local`.
    pub fn host(&self) -> String {
        format!("{}.{}.svc:{}", Self::NAME, self.namespace(), Self::PORT)
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
        ManagedDeployment::new(&self.cluster, self.namespace(), &WORDS)
    }
}
