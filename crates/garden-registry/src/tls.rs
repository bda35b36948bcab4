//! Whom we trust, and what went wrong when we did not.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, InvalidMessage, RootCertStore, WantsVerifier};

use crate::cause::chain;
use crate::error::RegistryError;

/// Why no TLS connection came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The certificate was signed by an authority that we do not know.
    UnknownAuthority,
    /// The certificate is for other names.
    WrongName,
    /// The certificate's time is over, or has not come yet.
    OutOfDate,
    /// The server presents a certificate authority's own certificate, as `openssl req -x509` makes
    /// them by default. RFC 5280 does not let an authority's certificate stand for a server.
    AuthorityAsServer,
    /// The answer is not TLS, most likely plain HTTP.
    NotTls,
    /// The handshake failed for another reason, which the error's source says.
    Handshake,
}

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
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(&error.to_string()))?;
        Ok(Self { builder, own })
    }

    /// Returns the configuration for TLS connections. Takes a while when it is first asked for.
    pub(crate) fn configuration(&self) -> ClientConfig {
        let mut roots = system_authorities().clone();
        roots.extend(self.own.roots.iter().cloned());
        self.builder.clone().with_root_certificates(roots).with_no_client_auth()
    }
}

/// Reads the system's authorities, once: it takes longer than asking a registry.
fn system_authorities() -> &'static RootCertStore {
    static AUTHORITIES: OnceLock<RootCertStore> = OnceLock::new();
    AUTHORITIES.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// Finds out whether a failure was one of TLS.
pub(crate) fn problem(error: &(dyn StdError + 'static)) -> Option<TlsProblem> {
    let error = chain(error).find_map(|error| error.downcast_ref::<rustls::Error>())?;
    Some(match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsProblem::NotTls,
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsProblem::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsProblem::OutOfDate,
            // rustls has no variant for it, and we do not link webpki only to name its own.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                TlsProblem::AuthorityAsServer
            }
            _ => TlsProblem::Handshake,
        },
        _ => TlsProblem::Handshake,
    })
}
