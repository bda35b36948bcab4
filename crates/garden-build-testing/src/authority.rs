use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A private certificate authority, made for one test.
///
/// ```
/// use garden_build_testing::Authority;
///
/// let authority = Authority::new();
/// let issued = authority.issue(["registry.example"]);
/// assert!(issued.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
/// ```
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that an [`Authority`] has signed, with its key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuedCertificate {
    /// The certificate, as PEM.
    pub certificate: String,
    /// Its private key, as PEM (PKCS #8).
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes a new one, with a new key.
    ///
    /// # Panics
    /// If this machine has no source of random numbers.
    pub fn new() -> Self {
        let (parameters, key) = (of_an_authority([]), new_key());
        let pem = parameters.self_signed(&key).expect("parameters without names are valid").pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// Returns its own certificate, as PEM: what clients have to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a certificate for a server of these names, which are host names and IP addresses.
    ///
    /// # Panics
    /// If a name cannot stand in a certificate.
    pub fn issue(&self, names: impl IntoIterator<Item = impl Into<String>>) -> IssuedCertificate {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let parameters = CertificateParams::new(names).expect("names for a certificate");
        let key = new_key();
        let certificate = parameters.signed_by(&key, &self.issuer).expect("the authority has a key");
        IssuedCertificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl IssuedCertificate {
    /// Makes a certificate for a server of these names that is an authority at the same time, and has signed itself. Clients
    /// refuse it even if they trust it as an authority: RFC 5280 lets no authority be a server.
    ///
    /// # Panics
    /// If a name cannot stand in a certificate.
    pub fn of_an_authority(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let (parameters, key) = (of_an_authority(names.into_iter().map(Into::into)), new_key());
        let certificate = parameters.self_signed(&key).expect("the names were read");
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Returns what answers TLS handshakes with it.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM of ours");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM of ours");
        // The program's default provider is left alone: there may be none.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("the key belongs to the certificate");
        TlsAcceptor::from(Arc::new(config))
    }
}

fn of_an_authority(names: impl IntoIterator<Item = String>) -> CertificateParams {
    let names: Vec<String> = names.into_iter().collect();
    let mut parameters = CertificateParams::new(names).expect("names for a certificate");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a source of random numbers")
}
