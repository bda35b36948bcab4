//! How builders in the cluster reach registries that take more than ordinary TLS.

use std::collections::BTreeMap;
use std::io;

use garden_build_core::{Error, ErrorKind, Result, read_regular_file};
use garden_config::DeploymentRegistry;

/// The most that a file with certificates may have, in bytes.
const LARGEST_CERTIFICATES: u64 = 4 * 1024 * 1024;

/// What a daemon has to know of a registry to reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegistryAccess {
    /// The registry's host, with its port if it has one.
    pub host: String,
    /// Whether it speaks plain HTTP.
    pub insecure: bool,
    /// Its private certificate authority, as PEM.
    pub certificate_authority: Option<String>,
    /// The registry that is asked first for its images: a host, perhaps with a path.
    pub mirror: Option<String>,
}

impl RegistryAccess {
    /// A registry that is reached by ordinary TLS: `host` or `host:port`.
    pub fn ordinary(host: &str) -> Self {
        Self { host: host.to_owned(), insecure: false, certificate_authority: None, mirror: None }
    }

    /// Describes how `registry` is reached, whose private certificate authority (PEM) was read already.
    pub fn new(registry: &DeploymentRegistry, certificate_authority: Option<String>) -> Self {
        Self { host: registry.host(), insecure: registry.insecure, certificate_authority, mirror: None }
    }

    /// Describes how `registry` is reached, which stands in `field`.
    ///
    /// # Errors
    /// If its certificate cannot be read.
    pub fn read(field: &str, registry: &DeploymentRegistry) -> Result<Self> {
        let authority = registry.ca_certificate.as_ref().map(|path| {
            let text = read_regular_file(path, LARGEST_CERTIFICATES).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            });
            text.map_err(|error| {
                let message = format!("`{field}.caCertificate`: {} cannot be read: {error}", path.display());
                Error::new(ErrorKind::Config, message)
            })
        });
        Ok(Self::new(registry, authority.transpose()?))
    }

    /// Whether there is nothing to say about the registry.
    pub fn is_ordinary(&self) -> bool {
        !self.insecure && self.certificate_authority.is_none() && self.mirror.is_none()
    }

    /// Leaves one entry for each registry, in the order of their hosts. `named` has each with the field that it stands in:
    /// two may name one registry, as long as they say the same about it.
    ///
    /// # Errors
    /// If two entries for one registry contradict each other.
    pub fn merge(named: Vec<(String, Self)>) -> Result<Vec<Self>> {
        let mut by_host: BTreeMap<String, (String, Self)> = BTreeMap::new();
        for (field, access) in named {
            match by_host.get(&access.host) {
                Some((other_field, other)) if *other != access => {
                    let what = if other.insecure == access.insecure { "caCertificate" } else { "insecure" };
                    let message = format!(
                        "`{other_field}` and `{field}` are both {}, but with different values of `{what}`",
                        access.host
                    );
                    return Err(Error::new(ErrorKind::Config, message)
                        .with_hint(format!("give both the same `{what}`: it belongs to the registry")));
                }
                Some(_) => {}
                None => {
                    by_host.insert(access.host.clone(), (field, access));
                }
            }
        }
        Ok(by_host.into_values().map(|(_, access)| access).collect())
    }
}

/// The registry that images are pushed to. It may have two names: one in the names of images, which kubelets pull by, and
/// one that builders and this machine reach it by.
#[derive(Clone, Debug)]
pub struct PushTarget {
    /// As it stands in the names of images.
    pub named: DeploymentRegistry,
    /// As it is reached.
    pub reached: DeploymentRegistry,
    /// Its private certificate authority, as PEM, if it has one.
    pub certificate_authority: Option<String>,
}

impl PushTarget {
    /// Describes `registry`, which stands in `field`, and has one name.
    ///
    /// # Errors
    /// If its certificate cannot be read.
    pub fn read(field: &str, registry: &DeploymentRegistry) -> Result<Self> {
        let RegistryAccess { certificate_authority, .. } = RegistryAccess::read(field, registry)?;
        Ok(Self { named: registry.clone(), reached: registry.clone(), certificate_authority })
    }

    /// Describes a registry that is called `named`, and reached as `reached`; neither has a certificate.
    pub fn with_two_names(named: DeploymentRegistry, reached: DeploymentRegistry) -> Self {
        Self { named, reached, certificate_authority: None }
    }

    /// Describes how it is reached.
    pub fn access(&self) -> RegistryAccess {
        RegistryAccess::new(&self.reached, self.certificate_authority.clone())
    }

    /// Describes how a daemon reaches it by the name that it has in the names of images.
    pub fn access_by_name(&self) -> RegistryAccess {
        RegistryAccess::new(&self.named, self.certificate_authority.clone())
    }

    /// Returns the host (with its port) in the names of images, if it is reached by another.
    pub fn alias(&self) -> Option<String> {
        Some(self.named.host()).filter(|host| *host != self.reached.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_cannot_be_two_things_at_once() {
        let access = |insecure| {
            let mut registry = DeploymentRegistry::new("one.example").expect("a host");
            registry.insecure = insecure;
            RegistryAccess::new(&registry, None)
        };
        let named =
            |other| vec![("an.option".to_owned(), access(false)), ("registries[0]".to_owned(), other)];
        assert_eq!(RegistryAccess::merge(named(access(false))).expect("the same").len(), 1);
        let error = RegistryAccess::merge(named(access(true))).expect_err("a contradiction");
        for part in ["an.option", "registries[0]", "one.example", "insecure"] {
            assert!(error.message().contains(part), "{error}");
        }
    }
}
