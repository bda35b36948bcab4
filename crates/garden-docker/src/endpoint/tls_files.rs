//! Certificates and keys for TLS to a daemon, from the files `ca.pem`, `cert.pem` and `key.pem` of a directory.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use garden_network::{any_server, system_authorities, tls_client};
use garden_registry::TlsProblem;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::{AsksForTls, ReachError};

/// Whom a connection trusts, and who we are.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    /// Who is trusted, as in "signed by none of …".
    pub(crate) authorities: String,
    /// Our certificate.
    pub(crate) certificate: Option<PathBuf>,
}

/// Whom to take for the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verify {
    /// Whoever has a certificate of an authority in `ca.pem`, which has to be there.
    Authority,
    /// The same; without a `ca.pem`, the authorities of this machine do.
    AuthorityOrSystem,
    /// Anybody.
    Nothing,
}

impl Tls {
    /// Reads what there is in `directory`; `asked_by` is what asks for TLS.
    pub(crate) fn read(
        directory: Option<&Path>,
        verify: Verify,
        asked_by: AsksForTls,
    ) -> Result<Self, ReachError> {
        let builder = tls_client().map_err(|error| {
            let problem = TlsProblem::Handshake { reason: error.to_string() };
            ReachError::Tls { daemon: asked_by.to_string(), problem }
        })?;
        let files = directory.map(|directory| Files { directory, asked_by });
        let (builder, authorities) = if verify == Verify::Nothing {
            // As `DOCKER_TLS` without `DOCKER_TLS_VERIFY` and `SkipTLSVerify` of a context ask for.
            (builder.dangerous().with_custom_certificate_verifier(any_server()), "anybody".to_owned())
        } else {
            let own = files.as_ref().map(|files| files.authorities(verify)).transpose()?.flatten();
            let (roots, authorities) = own.unwrap_or_else(|| {
                (system_authorities().clone(), "the authorities that this machine trusts".to_owned())
            });
            (builder.with_root_certificates(roots), authorities)
        };
        let identity = files.as_ref().map(Files::identity).transpose()?.flatten();
        let (config, certificate) = match (identity, &files) {
            (Some((chain, key)), Some(files)) => {
                let config = builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| files.bad("key.pem", &format!("with cert.pem, {error}")))?;
                (config, Some(files.directory.join("cert.pem")))
            }
            _ => (builder.with_no_client_auth(), None),
        };
        Ok(Self { config: Arc::new(config), authorities, certificate })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config: _, authorities, certificate } = self;
        let mut debug = f.debug_struct("Tls");
        debug.field("authorities", authorities).field("certificate", certificate).finish_non_exhaustive()
    }
}

struct Files<'a> {
    directory: &'a Path,
    asked_by: AsksForTls,
}

impl Files<'_> {
    fn bad(&self, name: &str, reason: &str) -> ReachError {
        ReachError::BadCertificate {
            file: self.directory.join(name),
            asked_by: self.asked_by.clone(),
            reason: reason.to_owned(),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ReachError> {
        match fs::read(self.directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some).map_err(|error| self.bad(name, &error.to_string())),
        }
    }

    /// Reads `ca.pem`, and says what it is called in messages.
    fn authorities(&self, verify: Verify) -> Result<Option<(RootCertStore, String)>, ReachError> {
        let Some(pem) = self.read("ca.pem")? else {
            let missing = || self.bad("ca.pem", "it does not exist, and so nobody can be trusted");
            return if verify == Verify::Authority { Err(missing()) } else { Ok(None) };
        };
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates("ca.pem", &pem)? {
            roots.add(certificate).map_err(|error| self.bad("ca.pem", &error.to_string()))?;
        }
        Ok(Some((roots, format!("the authorities in {}", self.directory.join("ca.pem").display()))))
    }

    /// Reads `cert.pem` and `key.pem`, of which there are both or none.
    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, ReachError> {
        let (certificate, key) = match (self.read("cert.pem")?, self.read("key.pem")?) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (None, Some(_)) => return Err(self.bad("cert.pem", "it does not exist, but key.pem does")),
            (Some(_), None) => return Err(self.bad("key.pem", "it does not exist, but cert.pem does")),
        };
        let chain = self.certificates("cert.pem", &certificate)?;
        // Both ways to encrypt one: PKCS #8, and the older headers of RFC 1421.
        let text = String::from_utf8_lossy(&key);
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(
                self.bad("key.pem", "it is encrypted, which is not supported; `openssl pkey` decrypts it")
            );
        }
        // The parser's own errors quote what they could not read, which may be a key.
        let key = PrivateKeyDer::from_pem_slice(&key);
        let key = key.map_err(|_| self.bad("key.pem", "there is no private key in it, or it is damaged"))?;
        Ok(Some((chain, key)))
    }

    fn certificates(&self, name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ReachError> {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|_| self.bad(name, "the PEM text is damaged"))?;
        if certificates.is_empty() {
            return Err(self.bad(name, "there is no `BEGIN CERTIFICATE` in it"));
        }
        Ok(certificates)
    }
}
