//! Who is spoken to.

use std::fmt;
use std::sync::Arc;

use crate::origin::Origin;

/// A server that a client speaks to: its registry, or one that the registry sent it to, such as a token server.
///
/// Is written as a registry's name and, as far as it is known, its scheme, host and port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server(Arc<Facts>);

#[derive(PartialEq, Eq, Debug)]
struct Facts {
    /// The registry's name, as in image references.
    registry: String,
    is_registry: bool,
    origin: Option<Origin>,
}

impl Server {
    /// The server of the registry called `registry`.
    pub(crate) fn registry(registry: &str, origin: Option<Origin>) -> Self {
        Self(Arc::new(Facts { registry: registry.to_owned(), is_registry: true, origin }))
    }

    /// A server at `origin` to which the registry called `registry` leads.
    pub(crate) fn named_by(registry: &str, origin: Origin) -> Self {
        Self(Arc::new(Facts { registry: registry.to_owned(), is_registry: false, origin: Some(origin) }))
    }

    /// Returns whether it is the registry itself.
    pub fn is_registry(&self) -> bool {
        self.0.is_registry
    }

    /// Returns whether it is asked without TLS. `false` as well where that is not known.
    pub fn speaks_plain_http(&self) -> bool {
        self.0.origin.as_ref().is_some_and(|origin| !origin.is_encrypted())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { registry, is_registry, origin } = &*self.0;
        match origin {
            Some(origin) if *is_registry => write!(f, "registry {registry} ({origin})"),
            Some(origin) => write!(f, "{origin}, named by registry {registry},"),
            None => write!(f, "registry {registry}"),
        }
    }
}
