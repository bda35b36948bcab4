//! Which API server was not reached. kube's errors say why, but not where.

use std::error::Error as StdError;

use garden_build_core::with_causes;
use http::Uri;
use tower::BoxError;

/// A request that an API server did not answer. It shows why only; [`place_and_reason`] has the address.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(crate) struct Unreached {
    server: String,
    source: BoxError,
}

impl Unreached {
    /// States that `source` is about the API server at `address`.
    pub(crate) fn at(address: &Uri, source: BoxError) -> BoxError {
        Self { server: shown(address), source }.into()
    }
}

/// Returns scheme, host and port of `address`: what stands before the host, or behind the port, may be a secret.
fn shown(address: &Uri) -> String {
    let scheme = address.scheme_str().unwrap_or("https");
    let host = address.host().unwrap_or_default();
    match address.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

/// Returns the address of the API server that `error` is about, if the client that reports it is ours, as ` at https://…`; and why it was not
/// reached.
pub(crate) fn place_and_reason(error: &kube::Error) -> (String, String) {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(found) = next {
        if let Some(Unreached { server, source }) = found.downcast_ref() {
            return (format!(" at {server}"), with_causes(&**source));
        }
        next = found.source();
    }
    let reason = match error {
        // Its own words add nothing but the name of the variant.
        kube::Error::Service(source) => with_causes(&**source),
        error => with_causes(error),
    };
    (String::new(), reason)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_address_is_shown_without_credentials() {
        let address = Uri::from_static("https://user:secret@api.example:6443/token?secret");
        let error = Unreached::at(&address, io::Error::other("refused").into());
        let (place, reason) = place_and_reason(&kube::Error::Service(error));
        assert_eq!((place.as_str(), reason.as_str()), (" at https://api.example:6443", "refused"));
    }

    #[test]
    fn a_client_of_somebody_else_says_why_only() {
        let error = kube::Error::Service(io::Error::other("refused").into());
        assert_eq!(place_and_reason(&error), (String::new(), "refused".to_owned()));
    }
}
