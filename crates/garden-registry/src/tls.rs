//! Whom a client of a registry trusts.

use garden_network::{system_authorities, tls_client};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::error::RegistryError;
use crate::tls_problem::{ClientCertificate, TlsSide};

/// Whom a client trusts, before it is known whether it speaks TLS at all.
#[derive(Debug)]
pub(crate) struct Trust {
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    own: RootCertStore,
}

impl Trust {
    /// Trusts the system's authorities and those in `authorities` (PEM).
    ///
    /// A system without authorities is not an error: a minimal container has none, and a private
    /// registry needs none.
    pub(crate) fn new(authorities: &[u8]) -> Result<Self, RegistryError> {
        let invalid = |reason: &str| RegistryError::InvalidCaCertificates { reason: reason.to_owned() };
        let mut own = RootCertStore::empty();
        if !authorities.is_empty() {
            let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(authorities)
                .collect::<Result<_, _>>()
                .map_err(|_| invalid("the PEM text is damaged"))?;
            if certificates.is_empty() {
                return Err(invalid("there is no `BEGIN CERTIFICATE` in it"));
            }
            for certificate in certificates {
                own.add(certificate).map_err(|_| invalid("one of them is not an X.509 certificate"))?;
            }
        }
        let builder = tls_client().map_err(|error| invalid(&error.to_string()))?;
        Ok(Self { builder, own })
    }

    /// Describes what a connection to `host` brings, for [`TlsSide::problem`].
    pub(crate) fn side(&self, host: &str) -> TlsSide {
        let given = if self.own.is_empty() { "" } else { " and those that were given" };
        let authorities = format!("the authorities that this machine trusts{given}");
        TlsSide { host: host.to_owned(), authorities, certificate: ClientCertificate::Never }
    }

    /// Returns the configuration for TLS connections. Takes a while when it is first asked for.
    pub(crate) fn configuration(&self) -> ClientConfig {
        let mut roots = system_authorities().clone();
        roots.extend(self.own.roots.iter().cloned());
        self.builder.clone().with_root_certificates(roots).with_no_client_auth()
    }
}
