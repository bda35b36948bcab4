use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::Result;
use garden_cluster::{BuilderProxies, PushTarget, RegistryAccess, RegistrySettings};
use garden_config::{ClusterDockerOptions, Namespace, PersistentStorage, ProviderConfig, Resources};

/// What the provider's configuration says about the Docker daemon in the cluster.
#[derive(Clone, Debug)]
pub struct ClusterDaemonSettings {
    /// The namespace that it runs in.
    pub namespace: Namespace,
    /// Its image.
    pub image: String,
    /// Its resources.
    pub resources: Resources,
    /// The volume for its images and caches.
    pub storage: PersistentStorage,
    /// Labels that a node must have to run it.
    pub node_selector: BTreeMap<String, String>,
    /// What it has to know of registries to reach them, in the order of their hosts; nothing of those that it reaches as it is.
    pub registries: Vec<RegistryAccess>,
    /// The names of the Secrets in its namespace with which nodes pull the images of its pod. None are known before they are
    /// brought there.
    pub pull_secrets: BTreeSet<String>,
    /// The registry within the cluster, which may be in the same namespace.
    pub in_cluster_registry: RegistrySettings,
    /// Whether that registry is `127.0.0.1:5000` for the daemon, as it is for nodes: images go there.
    pub forwards: bool,
    /// The proxies that it uses, and that the RUN steps of this project's builds use.
    pub proxies: BuilderProxies,
    /// The mark of those addresses of proxies that are in a Secret; `None` if none is, or as long as it is not known.
    pub proxy_secret: Option<String>,
    /// Whether a `NetworkPolicy` says who may connect to its pod.
    pub network_policies: bool,
}

impl ClusterDaemonSettings {
    /// Reads the settings out of the provider's configuration and the `options` of its build mode. Images go to
    /// `target`, by its name in the names of images, which the daemon reaches as nodes do.
    ///
    /// # Errors
    /// If a certificate cannot be read, or two entries for one registry contradict each other.
    pub fn new(
        provider: &ProviderConfig,
        options: &ClusterDockerOptions,
        target: &PushTarget,
    ) -> Result<Self> {
        let mut named = vec![("deploymentRegistry".to_owned(), target.access_by_name())];
        for (index, registry) in options.registries.iter().enumerate() {
            let field = format!("clusterDocker.registries[{index}]");
            let access = RegistryAccess::read(&field, registry)?;
            named.push((field, access));
        }
        let mut registries = RegistryAccess::merge(named)?;
        registries.retain(|access| !access.is_ordinary());
        Ok(Self {
            namespace: Namespace::new(&provider.garden_system_namespace),
            image: options.image_from(&provider.util_image_registry_domain),
            resources: provider.resources.builder.clone(),
            storage: provider.storage.builder.clone(),
            node_selector: provider.system_node_selector.clone(),
            registries,
            pull_secrets: BTreeSet::new(),
            in_cluster_registry: RegistrySettings::new(provider),
            forwards: provider.in_cluster_registry_namespace().is_some(),
            proxies: BuilderProxies::new(&provider.proxies),
            proxy_secret: None,
            network_policies: provider.network_policies,
        })
    }

    /// Returns the images of its pod.
    pub(super) fn images(&self) -> Vec<&str> {
        let forwarding = self.forwards.then_some(self.in_cluster_registry.image.as_str());
        [self.image.as_str()].into_iter().chain(forwarding).collect()
    }
}
