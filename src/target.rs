//! Where images go: to a registry, as the builder asks it, or to the nodes of a local cluster.

use std::sync::Arc;
use std::time::Duration;

use garden_build_core::{Digest, Error, ErrorKind, EventSink, ImageReference, Result, Version};
use garden_cluster::{Cluster, ClusterDialer, InClusterRegistry, RegistrySettings, ServerRun};
use garden_config::{BuildMode, DeploymentRegistry, ProviderConfig, ProviderKind};
use garden_docker::{DaemonChoice, NodeImages, RegistryCredentials};
use garden_registry::{Credentials, Identity, Location, RegistryClient, RegistryError, Remedies, Resolution};

use crate::remedies;

/// How long the registry of a base image may take to answer. It often cannot be reached from here, behind a firewall that
/// drops what it does not like; without an answer, a build sends more than it has to, and that is all.
const BASE_PATIENCE: Duration = Duration::from_secs(5);

/// Where images go: names them, and tells whether they are there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    cluster: Cluster,
    pub(crate) registry_credentials: RegistryCredentials,
    /// Where local-docker builds.
    pub(crate) daemon: DaemonChoice,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Registry(Box<TargetRegistry>),
    /// The images of a Docker daemon, and from there the nodes of the local cluster.
    Nodes(Box<NodeImages>),
}

/// The deployment registry.
#[derive(Clone, Debug)]
pub(crate) struct TargetRegistry {
    /// As it stands in the names of images.
    named: DeploymentRegistry,
    /// As builders in the cluster and this machine reach it.
    pub(crate) reached: DeploymentRegistry,
    pub(crate) ca: Option<String>,
    in_cluster: Option<InClusterRegistry>,
    /// What can be done about it when it cannot be used.
    pub(crate) remedies: &'static Remedies,
}

/// What this machine can tell about an image.
#[derive(Debug)]
pub(crate) enum Known {
    Exists(Digest),
    Missing,
    /// This machine cannot ask, but the builder in the cluster may be able to.
    Unknown(Error),
}

impl Target {
    /// Finds what `provider` means; `daemon` is where local-docker builds.
    ///
    /// # Errors
    /// If it means nothing, or the certificates for its registry cannot be read.
    pub(crate) fn new(provider: &ProviderConfig, cluster: &Cluster, daemon: DaemonChoice) -> Result<Self> {
        let mut registry_credentials =
            RegistryCredentials::of_secrets(cluster.clone(), provider.image_pull_secrets.clone());
        let is_local = provider.build_mode == BuildMode::LocalDocker;
        if is_local {
            registry_credentials = registry_credentials.and_docker_command();
        }
        let on_nodes = is_local
            && provider.kind == ProviderKind::LocalKubernetes
            && provider.deployment_registry.is_none();
        let place = if on_nodes {
            Place::Nodes(Box::new(NodeImages::new(cluster.clone(), daemon.clone())))
        } else {
            Place::Registry(Box::new(TargetRegistry::new(provider, cluster)?))
        };
        Ok(Self { cluster: cluster.clone(), registry_credentials, daemon, place })
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
            .with_hint("set `deploymentRegistry`")),
        }
    }

    /// Returns the registry in the cluster, if images go there.
    pub(crate) fn in_cluster(&self) -> Option<&InClusterRegistry> {
        self.registry().ok()?.in_cluster.as_ref()
    }

    /// Returns what gives images to the nodes, if they go to no registry.
    pub(crate) fn nodes(&self) -> Option<&NodeImages> {
        match &self.place {
            Place::Nodes(nodes) => Some(nodes),
            Place::Registry(_) => None,
        }
    }

    /// Says where images go, for people.
    pub(crate) fn description(&self) -> String {
        match &self.place {
            Place::Registry(registry) => registry.reached.host(),
            Place::Nodes(_) => "the nodes of the local cluster".to_owned(),
        }
    }

    /// Returns the name of the image `name` in `version`.
    pub(crate) fn reference(&self, name: &str, version: &Version) -> Result<ImageReference> {
        let reference = match &self.place {
            Place::Registry(registry) => {
                let named = &registry.named;
                ImageReference::tagged(&named.host(), &named.repository(name), version.as_str())
            }
            // As Docker and Kubernetes understand a name without a registry.
            Place::Nodes(_) => format!("{name}:{version}").parse(),
        };
        reference.map_err(|error| {
            Error::new(ErrorKind::Config, error.to_string()).with_hint(
                "names of images are lower-case letters and digits, separated by `.`, `_`, `-` or `/`",
            )
        })
    }

    /// Returns the name of the same image by which builders, and this machine, reach it.
    pub(crate) fn reached(&self, reference: &ImageReference) -> Result<ImageReference> {
        let Place::Registry(registry) = &self.place else { return Ok(reference.clone()) };
        reference
            .in_registry(&registry.reached.host())
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string()))
    }

    /// Asks which digest the image's tag stands for in the registry; without one, which image the daemon and the nodes have.
    pub(crate) async fn look_up(&self, reference: &ImageReference, events: &EventSink) -> Result<Known> {
        if let Place::Nodes(nodes) = &self.place {
            return Ok(Box::pin(nodes.find(reference)).await?.map_or(Known::Missing, Known::Exists));
        }
        let Location { registry, image } = self.locate(reference).await?;
        let answer = registry.resolve(&image).await;
        let answer = match (self.in_cluster(), answer) {
            (Some(in_cluster), Err(RegistryError::Unreachable { .. } | RegistryError::Timeout { .. })) => {
                // It may only be starting again, and else says why it is not there.
                match Box::pin(in_cluster.takes_pushes(events)).await.map_err(Error::from) {
                    Ok(_) => registry.resolve(&image).await,
                    Err(error) if *error.kind() == ErrorKind::PermissionDenied => {
                        return Ok(Known::Unknown(error));
                    }
                    Err(error) => return Err(error),
                }
            }
            (_, answer) => answer,
        };
        match answer {
            Ok(Resolution::Exists(digest)) => Ok(Known::Exists(digest)),
            Ok(Resolution::Missing) => Ok(Known::Missing),
            Err(error) if only_the_builder_may_know(&error) => {
                Ok(Known::Unknown(error.explain(self.registry()?.remedies)))
            }
            Err(error) => Err(error.explain(self.registry()?.remedies)),
        }
    }

    /// Returns the cluster that the builder works in.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Tells whether `image` is one of this registry.
    pub(crate) fn has(&self, image: &ImageReference) -> bool {
        self.registry().is_ok_and(|registry| image.registry() == registry.named.host())
    }

    /// Finds the way to an image of the registry. Whoever asks there for one of another registry is told so.
    pub(crate) async fn locate(&self, reference: &ImageReference) -> Result<Location> {
        let image = if self.has(reference) { self.reached(reference)? } else { reference.clone() };
        Ok(Location { registry: self.client().await?, image })
    }

    /// Finds the way to an image that a Dockerfile names: in the deployment registry, or in another one, which then has a
    /// certificate of a public authority.
    pub(crate) async fn locate_base(&self, image: &ImageReference) -> Result<Location> {
        let is_reached = |registry: &TargetRegistry| image.registry() == registry.reached.host();
        if self.has(image) || self.registry().is_ok_and(is_reached) {
            return self.locate(image).await;
        }
        let registry = RegistryClient::builder(image.registry())
            .credentials(self.credentials().await?)
            .dialer(self.dialer())
            .timeout(BASE_PATIENCE);
        let registry = registry.build().map_err(|error| error.explain(&remedies::OF_BASE_IMAGE))?;
        Ok(Location { registry, image: image.clone() })
    }

    /// Returns a client of the registry, with the credentials that count now.
    pub(crate) async fn client(&self) -> Result<RegistryClient> {
        let TargetRegistry { reached, ca, remedies, .. } = self.registry()?;
        let mut client = RegistryClient::builder(reached.host())
            .insecure(reached.insecure)
            .credentials(self.credentials().await?)
            .dialer(self.dialer());
        if let Some(ca) = ca {
            client = client.ca_certificates(ca.as_bytes());
        }
        client.build().map_err(|error| error.explain(remedies))
    }

    /// Reads the credentials of the provider's `imagePullSecrets`, and with local-docker those of the `docker` command.
    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        self.registry_credentials.read().await
    }

    /// Returns what reaches registries from here.
    pub(crate) fn dialer(&self) -> Arc<ClusterDialer> {
        Arc::new(ClusterDialer::new(self.cluster.clone()))
    }

    /// Returns which run of the registry's server serves now; `None` for a registry outside of the cluster, and for
    /// one that does not answer.
    pub(crate) async fn server_run(&self) -> Option<ServerRun> {
        self.in_cluster()?.server().await.ok()
    }

    /// Waits until the registry in the cluster takes pushes, and returns the run of its server if that is not the run
    /// `before`: then what was pushed to that may not have arrived, or have been collected before it was complete. `None`
    /// also if this machine may not ask.
    ///
    /// # Errors
    /// If the registry does not take pushes again.
    pub(crate) async fn stopped_since(
        &self,
        before: Option<&ServerRun>,
        events: &EventSink,
    ) -> Result<Option<ServerRun>> {
        let Some(registry) = self.in_cluster() else { return Ok(None) };
        match Box::pin(registry.takes_pushes(events)).await.map_err(Error::from) {
            Ok(now) => Ok(Some(now).filter(|now| Some(now) != before)),
            Err(error) if *error.kind() == ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl TargetRegistry {
    fn new(provider: &ProviderConfig, cluster: &Cluster) -> Result<Self> {
        let (named, reached, in_cluster) = if let Some(namespace) = provider.in_cluster_registry_namespace() {
            let in_cluster = InClusterRegistry::new(cluster.clone(), RegistrySettings::new(provider));
            let called = |host: &str| {
                let mut registry = DeploymentRegistry::new(host)?;
                registry.namespace = Some(namespace.to_owned());
                registry.insecure = true;
                Ok::<_, Error>(registry)
            };
            (called(ProviderConfig::IN_CLUSTER_REGISTRY)?, called(&in_cluster.host())?, Some(in_cluster))
        } else {
            let registry = provider.deployment_registry.clone().ok_or_else(|| {
                let message =
                    "`deploymentRegistry` is not set, and local-docker cannot push to the registry within the cluster";
                Error::new(ErrorKind::Config, message).with_hint("name the registry that images are pushed to")
            })?;
            (registry.clone(), registry, None)
        };
        let ca = match &reached.ca_certificate {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                let message =
                    format!("`deploymentRegistry.caCertificate`: {} cannot be read: {error}", path.display());
                Error::new(ErrorKind::Config, message)
            })?),
        };
        let remedies = if in_cluster.is_some() {
            &remedies::OF_REGISTRY_IN_CLUSTER
        } else if provider.build_mode == BuildMode::LocalDocker {
            &remedies::OF_DEPLOYMENT_REGISTRY_BY_DOCKER
        } else {
            &remedies::OF_DEPLOYMENT_REGISTRY
        };
        Ok(Self { named, reached, ca, in_cluster, remedies })
    }

    /// Returns the registry as it stands in the names of images.
    pub(crate) fn named(&self) -> &DeploymentRegistry {
        &self.named
    }

    /// Returns the host by which Dockerfiles and workloads name the registry, if builders reach it by another.
    pub(crate) fn alias(&self) -> Option<String> {
        self.in_cluster.as_ref().map(|_| self.named.host())
    }
}

/// Tells the failures apart that concern only this machine or this question. Clouds give their own
/// nodes and pods access that needs no secret, private networks may be closed to us, and some
/// registries deny what does not exist yet. Credentials that are wrong, and TLS that does not fit,
/// will not do for the builder either.
fn only_the_builder_may_know(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unauthorized(refusal) => {
            !matches!(refusal.identity, Identity::Credentials { .. } | Identity::HelperLogin { .. })
        }
        RegistryError::Forbidden(_) | RegistryError::Unreachable { .. } | RegistryError::Timeout { .. } => {
            true
        }
        _ => false,
    }
}
