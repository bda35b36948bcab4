//! A connection to a daemon that listens on TCP, with certificates on both sides.

use std::io;
use std::sync::Arc;

use garden_network::tls_client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// Who a daemon has to be, and who we are.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    /// The name in the daemon's certificate: a DNS name or an IP address.
    pub server_name: String,
    /// The certificate authority that the daemon's certificate is signed by, as PEM.
    pub certificate_authority: String,
    /// Our certificate, as PEM, followed by those between it and its authority.
    pub certificate: String,
    /// The key of our certificate, as PEM.
    pub key: SecretString,
}

impl TlsIdentity {
    /// Encrypts `stream`, whose other end is a daemon started with `--tlscacert`, `--tlscert` and
    /// `--tlskey`. The daemon refuses whom its authority has not signed; who we are is checked by it only after
    /// the handshake, so a refusal may show as the connection's end.
    ///
    /// # Errors
    /// If a certificate cannot be used, or the daemon is not who it has to be.
    pub async fn encrypt<S>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let name = ServerName::try_from(self.server_name.clone());
        let name = name.map_err(|error| invalid("the daemon's name", &error))?;
        let connector = TlsConnector::from(Arc::new(self.config()?));
        connector.connect(name, stream).await
    }

    /// Makes sure that the certificates can be read, and that the key belongs to ours. Whether somebody
    /// trusts them shows when they are used.
    ///
    /// # Errors
    /// With what is wrong, which never has a key in it.
    pub fn check(&self) -> io::Result<()> {
        self.config().map(drop)
    }

    fn config(&self) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.certificate_authority.as_bytes()) {
            let certificate = certificate.map_err(|_| damaged("the daemon's certificate authority"))?;
            roots.add(certificate).map_err(|error| invalid("the daemon's certificate authority", &error))?;
        }
        if roots.is_empty() {
            let error = rustls::Error::NoCertificatesPresented;
            return Err(invalid("the daemon's certificate authority", &error));
        }
        let chain =
            CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| damaged("our certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes());
        let key = key.map_err(|_| damaged("the key of our certificate"))?;
        let config = tls_client()
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key));
        let mut config = config.map_err(|error| invalid("our certificate", &error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Returns an error without details: the parser's own errors quote what they could not read, which may be a key.
fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: the PEM text is damaged or missing"))
}

fn invalid(what: &str, error: &dyn std::error::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_key_is_not_quoted() {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = issued.signing_key.serialize_pem();
        for damaged in
            [key.replace('\n', ""), key.replace("-----END", "----END"), key.replace("-----BEGIN", "")]
        {
            let identity = TlsIdentity {
                server_name: "localhost".to_owned(),
                certificate_authority: issued.cert.pem(),
                certificate: issued.cert.pem(),
                key: damaged.into(),
            };
            let error = identity.check().expect_err("damaged").to_string();
            assert_eq!(error, "the key of our certificate: the PEM text is damaged or missing");
        }
    }
}
