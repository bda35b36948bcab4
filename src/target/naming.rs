//! What images are called where they go.

use garden_build_core::{Error, ErrorKind, ImageReference, Result, Version};

use super::{Place, Target};

impl Target {
    /// Returns the name of the image `name` in `version`.
    pub(crate) fn reference(&self, name: &str, version: &Version) -> Result<ImageReference> {
        let reference = match &self.place {
            Place::Registry(registry) => {
                let named = &registry.push.named;
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
            .in_registry(&registry.push.reached.host())
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string()))
    }

    /// Returns whether `image` has the name of an image that goes to the registry.
    pub(crate) fn has(&self, image: &ImageReference) -> bool {
        self.registry().is_ok_and(|registry| image.registry() == registry.push.named.host())
    }
}
