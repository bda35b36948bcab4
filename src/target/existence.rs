//! Whether images are where they go.

use garden_build_core::{Digest, Error, ErrorKind, EventSink, ImageReference, Result};
use garden_cluster::ServerRun;
use garden_registry::{Identity, Location, Refusal, RegistryError, Resolution};

use super::{Place, Target};

/// What this machine can tell about an image.
#[derive(Debug)]
pub(crate) enum Known {
    Exists(Digest),
    Missing,
    /// This machine cannot ask, but the builder in the cluster may be able to.
    Unknown(Error),
}

impl Target {
    /// Asks which digest the image's tag stands for in the registry; without one, which image the daemon and the nodes have.
    pub(crate) async fn look_up(&self, reference: &ImageReference, events: &EventSink) -> Result<Known> {
        if let Place::Nodes(nodes) = &self.place {
            return Ok(Box::pin(nodes.find(reference)).await?.map_or(Known::Missing, Known::Exists));
        }
        let answer = match (self.in_cluster(), self.resolve(reference).await?) {
            (Some(in_cluster), Err(RegistryError::Unreachable { .. } | RegistryError::Timeout { .. })) => {
                // It may only be starting again, and else says why it is not there.
                match Box::pin(in_cluster.takes_pushes(events)).await.map_err(Error::from) {
                    Ok(_) => self.resolve(reference).await?,
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

    /// Asks the registry. If it refuses credentials that may be a minute old, and there are others by now, it is asked once more with
    /// those: a Secret that was renewed while the image was built counts when the image is confirmed.
    ///
    /// # Errors
    /// If it could not be asked at all. What it answered, or why it did not, is in the result.
    async fn resolve(
        &self,
        reference: &ImageReference,
    ) -> Result<std::result::Result<Resolution, RegistryError>> {
        let credentials = self.registries.credentials();
        let before = credentials.read().await?;
        let Location { registry, image } = self.locate(reference).await?;
        let answer = registry.resolve(&image).await;
        if !matches!(&answer, Err(RegistryError::Unauthorized(refusal)) if refuses_login(refusal)) {
            return Ok(answer);
        }
        self.registries.begin();
        // Equal ones are as wrong as before, and whoever shows them again and again may be locked out.
        if *credentials.read().await? == *before {
            return Ok(answer);
        }
        let Location { registry, image } = self.locate(reference).await?;
        Ok(registry.resolve(&image).await)
    }

    /// Returns which run of the registry's server serves now; `None` for a registry outside of the cluster, and for
    /// one that does not answer.
    pub(crate) async fn server_run(&self) -> Option<ServerRun> {
        self.in_cluster()?.server().await.ok()
    }

    /// Waits until the registry in the cluster takes pushes, and returns the run of its server if that is not the run
    /// `before`: then what was pushed to that may not have arrived, or have been collected before it was complete. A machine
    /// that may not ask gets `None`, too.
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

/// Tells the failures apart that concern only this machine or this question. Clouds give their own
/// nodes and pods access that needs no secret, private networks may be closed to us, some
/// registries deny what does not exist yet, and proxies show their page to whom they do not know.
/// Credentials that are wrong, and TLS that does not fit, will not do for the builder either.
fn only_the_builder_may_know(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unauthorized(refusal) => !refuses_login(refusal),
        RegistryError::Forbidden(_) | RegistryError::Unreachable { .. } | RegistryError::Timeout { .. } => {
            true
        }
        // Whoever answered is not the registry.
        RegistryError::Unexpected { status, .. } => status.as_u16() == 403,
        _ => false,
    }
}

/// Whether it is credentials that were refused, and not the lack of them.
fn refuses_login(refusal: &Refusal) -> bool {
    matches!(refusal.identity, Identity::Credentials { .. } | Identity::HelperLogin { .. })
}
