//! Where the API of a registry is, given the name that stands in image references.

use http::Uri;
use http::uri::Authority;

use crate::clouds::{DOCKER_HUB, DOCKER_HUB_API, canonical};
use crate::error::RegistryError;
use crate::origin::Origin;

/// A registry and where its API is.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The registry as the user named it: `host` or `host:port`.
    pub(crate) name: String,
    /// The only origin that is given the registry's credentials.
    pub(crate) origin: Origin,
    base: String,
}

impl Endpoint {
    /// Finds the API of the registry called `name`, which speaks plain HTTP if it is `insecure`.
    pub(crate) fn new(name: &str, insecure: bool) -> Result<Self, RegistryError> {
        let invalid = |reason| RegistryError::InvalidRegistry { registry: printable(name), reason };
        if name.contains("://") || name.contains('/') {
            return Err(invalid("expected `host` or `host:port`, without scheme and path"));
        }
        if name.contains('@') {
            return Err(invalid("credentials do not belong in a registry's name"));
        }
        name.parse::<Authority>().map_err(|_| invalid("expected `host` or `host:port`"))?;
        let canonical = canonical(name);
        let host = if canonical == DOCKER_HUB { DOCKER_HUB_API } else { &canonical };
        let scheme = if insecure { "http" } else { "https" };
        let base = format!("{scheme}://{host}");
        let origin = base.parse().ok().and_then(|uri| Origin::of(&uri));
        let origin = origin.ok_or_else(|| invalid("expected `host` or `host:port`"))?;
        Ok(Self { name: name.to_owned(), origin, base })
    }

    /// Returns whether `registry`, as written in an image reference, is this registry.
    pub(crate) fn is_called(&self, registry: &str) -> bool {
        canonical(registry) == canonical(&self.name)
    }

    /// Returns the repository's path in the API. Docker Hub keeps its one-word names in `library/`.
    pub(crate) fn repository(&self, repository: &str) -> String {
        if canonical(&self.name) == DOCKER_HUB && !repository.contains('/') {
            return format!("library/{repository}");
        }
        repository.to_owned()
    }

    /// Returns the URL of `path` in the API, `manifests/v1` say, of a repository.
    ///
    /// Source: OCI distribution specification, section "Endpoints". The grammar of image references leaves
    /// nothing that a path would need to escape.
    pub(crate) fn of_repository(&self, repository: &str, path: &str) -> Result<Uri, RegistryError> {
        self.url(&format!("{repository}/{path}"))
    }

    /// Returns the URL of `path` in the API.
    pub(crate) fn url(&self, path: &str) -> Result<Uri, RegistryError> {
        format!("{}/v2/{path}", self.base).parse().map_err(|_| RegistryError::InvalidRegistry {
            registry: self.name.clone(),
            reason: "it does not form a URL together with the image's name",
        })
    }
}

/// Someone who pastes a URL with a password in it should not meet the password in our message.
fn printable(name: &str) -> String {
    name.rsplit_once('@').map_or_else(|| name.to_owned(), |(_, host)| format!("…@{host}"))
}

/// Resolves a redirect's `Location` against the URL that answered with it.
///
/// Source: RFC 3986, section 5.2, without the removal of dot segments, which no registry sends.
pub(crate) fn join(base: &Uri, location: &str) -> Option<Uri> {
    let origin = format!("{}://{}", base.scheme_str()?, base.authority()?);
    let absolute = if location.contains("://") && !location.starts_with('/') {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{}:{location}", base.scheme_str()?)
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else {
        let (directory, _) = base.path().rsplit_once('/')?;
        format!("{origin}{directory}/{location}")
    };
    absolute.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("a URL")
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port_only() {
        let origin = |text| Origin::of(&uri(text)).expect("an origin");
        assert_eq!(origin("https://Registry.example/v2/"), origin("https://registry.example:443/other?x"));
        assert_ne!(origin("https://registry.example/"), origin("http://registry.example/"));
        assert_ne!(origin("https://registry.example/"), origin("https://registry.example:444/"));
        assert_ne!(origin("https://registry.example/"), origin("https://registry.example.evil/"));
        assert_eq!(Origin::of(&uri("https://user@registry.example/")), None);
        assert_eq!(Origin::of(&uri("ftp://registry.example/")), None);
    }

    #[test]
    fn docker_hub_has_many_names_and_one_api() {
        for name in ["docker.io", "index.docker.io", "registry-1.docker.io", "hub.docker.com", "Docker.io"] {
            let endpoint = Endpoint::new(name, false).expect(name);
            let url = endpoint.of_repository(&endpoint.repository("busybox"), "manifests/1").expect(name);
            assert_eq!(url, "https://registry-1.docker.io/v2/library/busybox/manifests/1");
            assert!(endpoint.is_called("docker.io"));
        }
    }

    #[test]
    fn refuses_what_is_not_a_host_and_never_prints_a_password() {
        for name in ["", "https://registry.example", "registry.example/team", "host:port:port", "us er"] {
            assert!(Endpoint::new(name, false).is_err(), "{name}");
        }
        let error = Endpoint::new("admin:s3cret@registry.example", false).expect_err("user information");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn joins_redirect_targets() {
        let base = uri("https://a.example:5000/v2/x/manifests/1");
        for (location, expected) in [
            ("https://b.example/y?z=1", "https://b.example/y?z=1"),
            ("//b.example/y", "https://b.example/y"),
            ("/v2/y", "https://a.example:5000/v2/y"),
            ("/login?next=http://b.example/", "https://a.example:5000/login?next=http://b.example/"),
            ("2", "https://a.example:5000/v2/x/manifests/2"),
        ] {
            assert_eq!(join(&base, location).expect(location), uri(expected));
        }
        assert_eq!(join(&base, "https://[broken"), None);
    }
}
