//! The registry that images go to, as the builder asks it.

use std::sync::Arc;

use garden_build_core::{
    Digest, Error, ErrorKind, Event, EventSink, ImageReference, Result, Stream, Version,
};
use garden_cluster::{
    Cluster, ClusterDialer, InClusterRegistry, RegistryNotice, RegistrySettings, ServerRun, read_pull_secrets,
};
use garden_config::{DeploymentRegistry, ProviderConfig, SecretRef};
use garden_registry::{Credentials, Identity, Location, RegistryClient, RegistryError, Resolution};

/// Where images go: names them, and tells whether they are there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    cluster: Cluster,
    /// The registry as it stands in the names of images.
    named: DeploymentRegistry,
    /// The same, as builders in the cluster and this machine reach it.
    pub(crate) registry: DeploymentRegistry,
    pub(crate) registry_ca: Option<String>,
    pub(crate) in_cluster: Option<InClusterRegistry>,
    pull_secrets: Vec<SecretRef>,
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
    /// Finds the registry that `provider` means.
    ///
    /// # Errors
    /// If it means none, or the certificates for it cannot be read.
    pub(crate) fn new(provider: &ProviderConfig, cluster: &Cluster) -> Result<Self> {
        let (named, registry, in_cluster) = if let Some(namespace) = provider.in_cluster_registry_namespace()
        {
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
        let registry_ca = match &registry.ca_certificate {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                let message =
                    format!("`deploymentRegistry.caCertificate`: {} cannot be read: {error}", path.display());
                Error::new(ErrorKind::Config, message)
            })?),
        };
        let pull_secrets = provider.image_pull_secrets.clone();
        Ok(Self { cluster: cluster.clone(), named, registry, registry_ca, in_cluster, pull_secrets })
    }

    /// Returns the host by which Dockerfiles and workloads name the registry, if builders reach it by another.
    pub(crate) fn alias(&self) -> Option<String> {
        self.in_cluster.as_ref().map(|_| self.named.host())
    }

    /// Returns the name of the image `name` in `version`.
    pub(crate) fn reference(&self, name: &str, version: &Version) -> Result<ImageReference> {
        let repository = self.named.repository(name);
        ImageReference::tagged(&self.named.host(), &repository, version.as_str()).map_err(|error| {
            Error::new(ErrorKind::Config, error.to_string()).with_hint(
                "names of images are lower-case letters and digits, separated by `.`, `_`, `-` or `/`",
            )
        })
    }

    /// Returns the name of the same image by which builders, and this machine, reach it.
    pub(crate) fn reached(&self, reference: &ImageReference) -> Result<ImageReference> {
        reference
            .in_registry(&self.registry.host())
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string()))
    }

    /// Asks the registry which digest the image's tag stands for.
    pub(crate) async fn look_up(&self, reference: &ImageReference, events: &EventSink) -> Result<Known> {
        let Location { registry, image } = self.locate(reference).await?;
        let answer = registry.resolve(&image).await;
        let answer = match (&self.in_cluster, answer) {
            (Some(in_cluster), Err(RegistryError::Unreachable { .. } | RegistryError::Timeout { .. })) => {
                // It may only be starting again, and else says why it is not there.
                match Box::pin(in_cluster.takes_pushes(&mut tell(events))).await.map_err(Error::from) {
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
            Err(error) if only_the_builder_may_know(&error) => Ok(Known::Unknown(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the cluster that the builder works in.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Tells whether `image` is one of this registry.
    pub(crate) fn has(&self, image: &ImageReference) -> bool {
        image.registry() == self.named.host()
    }

    /// Finds the way to an image of the registry. Whoever asks there for one of another registry is told so.
    pub(crate) async fn locate(&self, reference: &ImageReference) -> Result<Location> {
        let image = if self.has(reference) { self.reached(reference)? } else { reference.clone() };
        Ok(Location { registry: self.client().await?, image })
    }

    /// Returns a client of the registry, with the credentials that count now.
    pub(crate) async fn client(&self) -> Result<RegistryClient> {
        let mut client = RegistryClient::builder(self.registry.host())
            .insecure(self.registry.insecure)
            .credentials(self.credentials().await?)
            .dialer(self.dialer());
        if let Some(ca) = &self.registry_ca {
            client = client.ca_certificates(ca.as_bytes());
        }
        Ok(client.build()?)
    }

    /// Reads the credentials of the provider's `imagePullSecrets`.
    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        Ok(read_pull_secrets(&self.cluster, &self.pull_secrets).await?)
    }

    /// Returns what reaches registries from here.
    pub(crate) fn dialer(&self) -> Arc<ClusterDialer> {
        Arc::new(ClusterDialer::new(self.cluster.clone()))
    }

    /// Returns which run of the registry's server serves now; `None` for a registry outside of the cluster, and for
    /// one that does not answer.
    pub(crate) async fn server_run(&self) -> Option<ServerRun> {
        self.in_cluster.as_ref()?.server().await.ok()
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
        let Some(registry) = &self.in_cluster else { return Ok(None) };
        match Box::pin(registry.takes_pushes(&mut tell(events))).await.map_err(Error::from) {
            Ok(now) => Ok(Some(now).filter(|now| Some(now) != before)),
            Err(error) if *error.kind() == ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Passes on what the registry in the cluster has to tell.
pub(crate) fn tell(events: &EventSink) -> impl FnMut(RegistryNotice) + Send {
    let events = events.clone();
    move |notice| match notice {
        RegistryNotice::Progress(line) => {
            events.emit(Event::Log { step: None, stream: Stream::Builder, line });
        }
        RegistryNotice::Warning { message, hint } => events.warn(message, Some(hint)),
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
