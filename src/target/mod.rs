//! Where images go: to a registry, or to the nodes of a local cluster.
//!
//! `naming` is what images are called there, `existence` whether they are there. `registries` is the way to images, of this
//! registry and of others: with which client, one for each registry, which `clients` keeps. `silence` tells who waits that the API server does not answer.

use std::fmt::Debug;
use std::sync::Arc;

use garden_build_core::{BoxFuture, Digest, Error, ErrorKind, ImageReference, Remedy, Result};
use garden_cluster::{Cluster, InClusterRegistry, PushTarget, RegistryCredentials, RegistrySettings};
use garden_config::{BuildMode, DeploymentRegistry, ProviderConfig};
use garden_registry::{AllowedHelpers, Remedies};

use crate::remedies;

mod clients;
mod existence;
mod naming;
mod registries;
mod silence;

pub(crate) use existence::Known;
pub(crate) use registries::{BasePlace, Registries};

/// Where images go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    cluster: Cluster,
    /// Whether credentials are in Secrets of the cluster.
    reads_secrets: bool,
    place: Place,
    /// How registries are asked: the one that images go to, and others.
    pub(crate) registries: Registries,
}

#[derive(Clone, Debug)]
enum Place {
    Registry(Box<TargetRegistry>),
    /// The images of a Docker daemon, and from there the nodes of the local cluster.
    Nodes(Arc<dyn Nodes>),
}

/// The images of a Docker daemon and of the nodes of a local cluster.
pub(crate) trait Nodes: Debug + Send + Sync {
    /// Returns the digest of `image` if all of them have it.
    fn find<'a>(&'a self, image: &'a ImageReference) -> BoxFuture<'a, Result<Option<Digest>>>;
}

/// The registry that images go to.
#[derive(Clone, Debug)]
pub(crate) struct TargetRegistry {
    pub(crate) push: PushTarget,
    in_cluster: Option<InClusterRegistry>,
    /// What can be done about it when it cannot be used.
    pub(crate) remedies: &'static Remedies,
}

impl Target {
    /// Finds what `provider` means: `nodes`, if images go to these.
    ///
    /// # Errors
    /// If it means nothing, or the certificates for its registry cannot be read.
    pub(crate) fn new(
        provider: &ProviderConfig,
        cluster: &Cluster,
        nodes: Option<Arc<dyn Nodes>>,
    ) -> Result<Self> {
        let is_local = provider.build_mode == BuildMode::LocalDocker;
        let secrets = RegistryCredentials::of_secrets(
            cluster.clone(),
            "imagePullSecrets",
            provider.image_pull_secrets.clone(),
        );
        let helpers = provider.credential_helpers_for.iter().map(String::as_str);
        let secrets =
            secrets.allowing_helpers(AllowedHelpers::for_registries(helpers, "`credentialHelpersFor`")?);
        let place = match nodes {
            Some(nodes) => Place::Nodes(nodes),
            None => Place::Registry(Box::new(TargetRegistry::new(provider, cluster, &secrets)?)),
        };
        let secrets = match &place {
            Place::Registry(registry) => registry.with_login(secrets, provider),
            Place::Nodes(_) => secrets,
        };
        let registries = Registries::new(cluster, secrets, is_local);
        let reads_secrets = !provider.image_pull_secrets.is_empty();
        Ok(Self { cluster: cluster.clone(), reads_secrets, place, registries })
    }

    /// Returns the cluster that the builder works in.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Returns the registry.
    ///
    /// # Errors
    /// If images go to none.
    pub(crate) fn registry(&self) -> Result<&TargetRegistry> {
        match &self.place {
            Place::Registry(registry) => Ok(registry),
            Place::Nodes(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "there is no registry: `deploymentRegistry` is not set, so images stay in Docker and on the cluster's nodes",
            )
            .with_hint(Remedy::set(&["deploymentRegistry"], "set `deploymentRegistry`"))),
        }
    }

    /// Returns the registry in the cluster, if images go there.
    pub(crate) fn in_cluster(&self) -> Option<&InClusterRegistry> {
        match &self.place {
            Place::Registry(registry) => registry.in_cluster.as_ref(),
            Place::Nodes(_) => None,
        }
    }

    /// Describes where images go, for people.
    pub(crate) fn description(&self) -> String {
        match &self.place {
            Place::Registry(registry) => registry.push.reached.host(),
            Place::Nodes(_) => "the nodes of the local cluster".to_owned(),
        }
    }
}

impl TargetRegistry {
    /// Returns `credentials` with what pushes to the registry in the cluster need. Only Docker's daemon knows it by the name that images
    /// have there. Elsewhere a RUN step can listen at that address, and is to be shown nothing.
    fn with_login(&self, credentials: RegistryCredentials, provider: &ProviderConfig) -> RegistryCredentials {
        let Some(registry) = &self.in_cluster else { return credentials };
        let by_docker = matches!(provider.build_mode, BuildMode::ClusterDocker(_));
        let names = [self.push.reached.host()].into_iter().chain(by_docker.then(|| self.push.named.host()));
        credentials.and_registry_in_cluster(registry.clone(), names.collect())
    }

    /// Finds the registry that `provider` means. Where it is in the cluster, nodes pull its own image with `secrets`.
    fn new(provider: &ProviderConfig, cluster: &Cluster, secrets: &RegistryCredentials) -> Result<Self> {
        if let Some(namespace) = provider.in_cluster_registry_namespace() {
            let (settings, words) = (RegistrySettings::new(provider), &remedies::OF_REGISTRY_S_POD);
            let in_cluster = InClusterRegistry::new(cluster.clone(), settings, secrets.clone(), words);
            let called = |host: &str| {
                let mut registry = DeploymentRegistry::new(host)?;
                registry.namespace = Some(namespace.to_owned());
                registry.insecure = true;
                Ok::<_, Error>(registry)
            };
            let push = PushTarget::with_two_names(
                called(ProviderConfig::IN_CLUSTER_REGISTRY)?,
                called(&in_cluster.host())?,
            );
            let remedies = &remedies::OF_REGISTRY_IN_CLUSTER;
            return Ok(Self { push, in_cluster: Some(in_cluster), remedies });
        }
        let registry = provider.deployment_registry.as_ref().ok_or_else(|| {
            let message =
                "`deploymentRegistry` is not set, and local-docker cannot push to the registry within the cluster";
            Error::new(ErrorKind::Config, message).with_hint(Remedy::set(
                &["deploymentRegistry"],
                "set `deploymentRegistry` to the registry that images are pushed to",
            ))
        })?;
        let remedies = if provider.build_mode == BuildMode::LocalDocker {
            &remedies::OF_DEPLOYMENT_REGISTRY_BY_DOCKER
        } else {
            &remedies::OF_DEPLOYMENT_REGISTRY
        };
        Ok(Self { push: PushTarget::read("deploymentRegistry", registry)?, in_cluster: None, remedies })
    }
}
