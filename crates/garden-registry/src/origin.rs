//! Where a credential may go.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

/// Scheme, host and port: what a credential is confined to.
///
/// Source: RFC 9110, section 4.3.1 "http(s) origin".
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    encrypted: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of `uri`; `None` if it is not an absolute http or https URL, or carries
    /// user information, which nothing that we talk to has a reason to.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let encrypted = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Some(Self { encrypted, host: authority.host().to_ascii_lowercase(), port })
    }

    /// Returns the host, in lower case.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns whether it has the host of `other`, on whatever port.
    pub(crate) fn has_host_of(&self, other: &Self) -> bool {
        self.host == other.host
    }

    /// Returns whether it is reached over TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}
