//! The deployment registry, as the builder asks it.

use std::sync::Arc;

use garden_build_core::{Digest, Error, ErrorKind, ImageReference, Result, Version};
use garden_cluster::{Cluster, ClusterDialer, read_pull_secrets};
use garden_config::{DeploymentRegistry, SecretRef};
use garden_registry::{Credentials, Identity, Location, RegistryClient, RegistryError, Resolution};

/// Where images go: names them, and tells whether they are there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    cluster: Cluster,
    pub(crate) registry: DeploymentRegistry,
    pub(crate) registry_ca: Option<String>,
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
    pub(crate) fn new(
        cluster: Cluster,
        registry: DeploymentRegistry,
        registry_ca: Option<String>,
        pull_secrets: Vec<SecretRef>,
    ) -> Self {
        Self { cluster, registry, registry_ca, pull_secrets }
    }

    /// Returns the name of the image `name` in `version`.
    pub(crate) fn reference(&self, name: &str, version: &Version) -> Result<ImageReference> {
        let repository = self.registry.repository(name);
        ImageReference::tagged(&self.registry.host(), &repository, version.as_str()).map_err(|error| {
            Error::new(ErrorKind::Config, error.to_string()).with_hint(
                "names of images are lower-case letters and digits, separated by `.`, `_`, `-` or `/`",
            )
        })
    }

    /// Asks the registry which digest the image's tag stands for.
    pub(crate) async fn look_up(&self, reference: &ImageReference) -> Result<Known> {
        let Location { registry, image } = self.locate(reference).await?;
        match registry.resolve(&image).await {
            Ok(Resolution::Exists(digest)) => Ok(Known::Exists(digest)),
            Ok(Resolution::Missing) => Ok(Known::Missing),
            Err(error) if only_the_builder_may_know(&error) => Ok(Known::Unknown(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells whether `image` is one of this registry.
    pub(crate) fn has(&self, image: &ImageReference) -> bool {
        image.registry() == self.registry.host()
    }

    /// Finds the way to an image of the registry.
    ///
    /// Credentials are read from the cluster each time, so that changed ones count at once.
    pub(crate) async fn locate(&self, reference: &ImageReference) -> Result<Location> {
        let mut client = RegistryClient::builder(self.registry.host())
            .insecure(self.registry.insecure)
            .credentials(self.credentials().await?)
            .dialer(self.dialer());
        if let Some(ca) = &self.registry_ca {
            client = client.ca_certificates(ca.as_bytes());
        }
        Ok(Location { registry: client.build()?, image: reference.clone() })
    }

    /// Reads the credentials of the provider's `imagePullSecrets`.
    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        Ok(read_pull_secrets(&self.cluster, &self.pull_secrets).await?)
    }

    /// Returns what reaches registries from here.
    pub(crate) fn dialer(&self) -> Arc<ClusterDialer> {
        Arc::new(ClusterDialer::new(self.cluster.clone()))
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
