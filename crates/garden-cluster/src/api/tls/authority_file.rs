//! The API server's authorities in a file that changes: Kubernetes replaces the one that it puts into pods when the
//! cluster's authority is renewed, and a program in a pod may run for longer than that.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use garden_network::cryptography;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::trusting;

/// How long what was read counts. Tokens in files are read anew as often, by kube.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Trusts the authorities that are in a file at the time of a connection, or a minute before it.
pub(super) struct AuthorityFile {
    path: PathBuf,
    counts_for: Duration,
    read: Mutex<(Arc<WebPkiServerVerifier>, Instant)>,
}

impl AuthorityFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, String> {
        Self::read_again_after(READ_AGAIN_AFTER, path)
    }

    fn read_again_after(counts_for: Duration, path: PathBuf) -> Result<Self, String> {
        let read = Mutex::new((read(&path)?, Instant::now()));
        Ok(Self { path, counts_for, read })
    }

    fn current(&self) -> Arc<WebPkiServerVerifier> {
        let mut read_before = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (verifier, when) = &mut *read_before;
        if when.elapsed() >= self.counts_for {
            *when = Instant::now();
            // It may be in the middle of being replaced. What was true before most often still is.
            match read(&self.path) {
                Ok(current) => *verifier = current,
                Err(reason) => {
                    tracing::warn!(%reason, "still trusting the API server's authorities as read before");
                }
            }
        }
        Arc::clone(verifier)
    }
}

fn read(path: &PathBuf) -> Result<Arc<WebPkiServerVerifier>, String> {
    let shown = path.display();
    let pem = fs::read(path).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| format!("`{shown}`: the PEM text is damaged"))?;
    let unusable = |error: &dyn fmt::Display| format!("`{shown}`: {error}");
    let roots = trusting(certificates).map_err(|error| unusable(&error))?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), cryptography())
        .build()
        .map_err(|error| unusable(&error))
}

impl fmt::Debug for AuthorityFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for AuthorityFile {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.current().verify_server_cert(certificate, intermediates, server, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;

    use super::*;

    fn self_signed() -> (String, CertificateDer<'static>) {
        let issued = rcgen::generate_simple_self_signed(["api.example".to_owned()]).expect("a certificate");
        (issued.cert.pem(), issued.cert.der().clone())
    }

    fn trusts(file: &AuthorityFile, certificate: &CertificateDer<'_>) -> bool {
        let server = ServerName::try_from("api.example").expect("a name");
        file.verify_server_cert(certificate, &[], &server, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn a_renewed_authority_is_trusted_when_the_file_is_read_again_and_one_that_is_gone_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.crt");
        let ((old_pem, old), (new_pem, new)) = (self_signed(), self_signed());
        fs::write(&path, old_pem).expect("written");
        let at_once = AuthorityFile::read_again_after(Duration::ZERO, path.clone()).expect("an authority");
        let never = AuthorityFile::read_again_after(Duration::MAX, path.clone()).expect("an authority");
        assert!(trusts(&at_once, &old) && !trusts(&at_once, &new));
        fs::write(&path, new_pem).expect("written");
        assert!(!trusts(&at_once, &old) && trusts(&at_once, &new));
        assert!(trusts(&never, &old) && !trusts(&never, &new));
        for damaged in ["", "-----BEGIN CERTIFICATE-----\n"] {
            fs::write(&path, damaged).expect("written");
            assert!(trusts(&at_once, &new), "{damaged}");
        }
        fs::remove_file(&path).expect("removed");
        assert!(trusts(&at_once, &new));
        let missing = AuthorityFile::open(path).expect_err("there is no such file");
        assert!(missing.contains("ca.crt` cannot be read"), "{missing}");
    }
}
