//! What a provider's configuration means for this mode.

use std::collections::BTreeSet;

use garden_build_core::Result;
use garden_cluster::{BuilderProxies, PushTarget};
use garden_config::{
    CacheLayer, ClusterBuildkitOptions, DeploymentRegistry, IdleAfter, Namespace, Resources,
};

use crate::route::Route;
use crate::spec::{self, DaemonOptions, RegistryAccess, Storage};

/// How images are built in this mode.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) daemon: spec::Settings,
    pub(crate) cache: Vec<CacheLayer>,
    pub(crate) compression_level: u8,
    /// Whether a RUN step can read what other running builds have been given.
    pub(crate) shows_secrets_to_others: bool,
    pub(crate) registry: DeploymentRegistry,
    pub(crate) route: Option<Route>,
}

impl Settings {
    /// Builds as `options` say in `namespace`, and pushes to `target`.
    ///
    /// # Errors
    /// If a certificate cannot be read, or two entries for one registry contradict each other.
    pub fn new(
        options: &ClusterBuildkitOptions,
        namespace: Namespace,
        resources: Resources,
        target: &PushTarget,
    ) -> Result<Self> {
        let registries = registries(options, target)?;
        let storage = options
            .storage
            .as_ref()
            .map(|storage| Storage { size: storage.size, storage_class: storage.storage_class.clone() });
        let daemon = spec::Settings {
            namespace,
            options: DaemonOptions {
                image: options.image().to_owned(),
                rootless: options.rootless,
                user_namespace: !options.host_users,
                node_selector: options.node_selector.clone(),
                tolerations: options.tolerations.clone(),
                annotations: options.annotations.clone(),
                service_account_annotations: options.service_account_annotations.clone(),
                storage,
                listen: options.listen,
            },
            resources,
            idle_after: IdleAfter::default(),
            registries,
            pull_secrets: BTreeSet::new(),
            certificates: None,
            proxies: BuilderProxies::default(),
            traces_url: None,
            proxy_secret: None,
            network_policies: false,
        };
        Ok(Self {
            daemon,
            cache: options.cache.clone(),
            compression_level: options.compression_level,
            shows_secrets_to_others: options.rootless && !options.builds_trust_each_other,
            registry: target.reached.clone(),
            route: None,
        })
    }

    /// Returns what the daemon has to know of registries to reach them, and which mirrors it asks before them.
    pub fn registries(&self) -> &[RegistryAccess] {
        &self.daemon.registries
    }

    /// Has the daemon, and the RUN steps that it runs, use these proxies. By default they use none.
    pub fn proxies(mut self, proxies: BuilderProxies) -> Self {
        self.daemon.proxies = proxies;
        self
    }

    /// Has the daemon send its spans there, by OTLP over HTTP. By default it sends them nowhere.
    pub fn traces_url(mut self, url: Option<String>) -> Self {
        self.daemon.traces_url = url;
        self
    }

    /// Keeps the daemon for this time without use. Left out, it is four hours.
    pub fn idle_after(mut self, idle_after: IdleAfter) -> Self {
        self.daemon.idle_after = idle_after;
        self
    }

    /// Whether a `NetworkPolicy` says who may connect to the daemon's pods. By default there is none.
    pub fn network_policies(mut self, wanted: bool) -> Self {
        self.daemon.network_policies = wanted;
        self
    }

    /// Takes this way to the daemon, whatever stands against it: [`Route::Direct`] and
    /// [`Route::PortForward`] need `listen`, and do not fall back to another. Left out, it is
    /// [`Route::Direct`] for a program in the cluster if the daemon listens, and [`Route::Exec`] otherwise.
    pub fn route(mut self, route: Route) -> Self {
        self.route = Some(route);
        self
    }
}

/// Collects what the daemon has to know of all registries that the configuration names.
fn registries(options: &ClusterBuildkitOptions, target: &PushTarget) -> Result<Vec<RegistryAccess>> {
    let mut named = vec![("deploymentRegistry".to_owned(), target.access())];
    let caches = options.cache.iter().enumerate().filter_map(|(index, layer)| {
        let registry = layer.registry()?;
        Some((format!("clusterBuildkit.cache[{index}].registry"), registry))
    });
    let others = options.registries.iter().enumerate();
    let others = others.map(|(index, registry)| (format!("clusterBuildkit.registries[{index}]"), registry));
    for (field, registry) in caches.chain(others) {
        let access = RegistryAccess::read(&field, registry)?;
        named.push((field, access));
    }
    let mut merged = RegistryAccess::merge(named)?;
    for (host, mirror) in &options.registry_mirrors {
        match merged.iter_mut().find(|access| access.host == *host) {
            Some(access) => access.mirror = Some(mirror.clone()),
            None => merged.push(RegistryAccess {
                host: host.clone(),
                insecure: false,
                certificate_authority: None,
                mirror: Some(mirror.clone()),
            }),
        }
    }
    merged.retain(|access| !access.is_ordinary());
    // Where the daemon does not reach it by the name that Dockerfiles have for it.
    if let Some(alias) = target.alias()
        && merged.iter().all(|access| access.host != alias)
    {
        let mirror = Some(target.reached.host());
        merged.push(RegistryAccess { mirror, ..target.access_by_name() });
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_that_need_to_be_explained_are_and_each_once() {
        let registry = |host: &str, insecure| {
            let mut registry = DeploymentRegistry::new(host).expect("a host");
            registry.insecure = insecure;
            registry
        };
        let mut options = ClusterBuildkitOptions::default();
        options.registries = vec![registry("one.example", true)];
        let mirrors = [("one.example", "mirror.example/one"), ("docker.io", "mirror.example/hub")];
        options.registry_mirrors =
            mirrors.into_iter().map(|(host, mirror)| (host.to_owned(), mirror.to_owned())).collect();
        let explained = |deployment: &DeploymentRegistry| {
            let target = PushTarget::read("deploymentRegistry", deployment).expect("no certificate");
            registries(&options, &target).expect("no conflict")
        };

        let found = explained(&registry("two.example", false));
        let hosts: Vec<_> = found.iter().map(|access| (access.host.as_str(), access.insecure)).collect();
        assert_eq!(hosts, [("one.example", true), ("docker.io", false)]);
        assert!(found.iter().all(|access| access.mirror.is_some()));
        assert_eq!(explained(&registry("one.example", true)).len(), 2);
    }

    #[test]
    fn images_by_another_name_come_from_the_registry_that_the_daemon_reaches() {
        let called = |host: &str| {
            let mut registry = DeploymentRegistry::new(host).expect("a host");
            registry.insecure = true;
            registry
        };
        let target = PushTarget::with_two_names(called("127.0.0.1:5000"), called("registry.tools.svc:5000"));
        let options = ClusterBuildkitOptions::default();
        let (namespace, resources) = (Namespace::new("shop"), Resources::builder());
        let settings = Settings::new(&options, namespace, resources, &target).expect("no conflict");
        let known: Vec<_> =
            settings.daemon.registries.iter().map(|it| (it.host.as_str(), it.mirror.as_deref())).collect();
        assert_eq!(
            known,
            [("registry.tools.svc:5000", None), ("127.0.0.1:5000", Some("registry.tools.svc:5000")),]
        );
    }
}
