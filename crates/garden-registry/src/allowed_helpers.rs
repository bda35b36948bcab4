//! For whom credential helpers are run on this machine.

use std::sync::Arc;

use crate::docker_config::{CredentialsError, parse_key};
use crate::key::Key;

/// For which registries a Docker configuration may have credential helpers of this machine run.
///
/// A helper hands out the user's own logins. Whoever writes the configuration chooses the helper, and whoever writes a Dockerfile
/// chooses the registries; so a configuration that is not the user's own has nothing run unless the user has said for which registries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllowedHelpers(Allowed);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Allowed {
    ForAll,
    For(Arc<[Key]>),
}

impl Default for Allowed {
    fn default() -> Self {
        Self::For(Arc::default())
    }
}

impl AllowedHelpers {
    /// Has none run, which is the default.
    pub fn none() -> Self {
        Self::default()
    }

    /// Has them run for all registries that anybody names: for a configuration of the user's own.
    pub fn for_all() -> Self {
        Self(Allowed::ForAll)
    }

    /// Has them run for these `registries` only: `host` or `host:port`, perhaps with wildcards as in a Docker configuration.
    ///
    /// # Errors
    /// If one of them names no host; the error says that `origin` does.
    pub fn for_registries<'a>(
        registries: impl IntoIterator<Item = &'a str>,
        origin: &str,
    ) -> Result<Self, CredentialsError> {
        let keys = registries.into_iter().map(|registry| parse_key(registry, origin));
        Ok(Self(Allowed::For(keys.collect::<Result<_, _>>()?)))
    }

    /// Returns whether one may be asked for `repository` at `registry`.
    pub(crate) fn include(&self, registry: &str, repository: &str) -> bool {
        match &self.0 {
            Allowed::ForAll => true,
            Allowed::For(keys) => keys.iter().any(|key| key.matches(registry, repository)),
        }
    }
}
