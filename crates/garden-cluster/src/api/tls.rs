//! TLS to the API server, as a kubeconfig describes it: whom to trust, who we are, and by which name the server goes.
//!
//! kube makes such a configuration as well, from the process's default provider of cryptography, and installs one where
//! there is none. That choice is the program's.

mod authority_file;
mod identity;
mod plugin;

use std::sync::Arc;

use garden_network::{any_server, system_authorities, tls_client};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use kube::Config;
use kube::client::AuthError;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use authority_file::AuthorityFile;
use identity::Identity;

/// Why a kubeconfig's TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// What is wrong in it.
    #[error("{0}")]
    Unusable(String),
    /// Its credential plugin did not run, or has no credentials.
    // Not transparent: that would leave the plugin's own error out of the sources, by which it is known, and replaced as it may hold a key.
    #[error("the kubeconfig's credential plugin has no certificate")]
    Plugin(#[from] AuthError),
}

/// Returns what makes connections to the API server of `config` with `inner`. `signed_in` says whether requests bring other
/// credentials: then a credential plugin has returned these, without a certificate.
///
/// # Errors
/// If the configuration cannot be used.
pub(crate) fn connector<C>(
    config: &Config,
    signed_in: bool,
    inner: C,
) -> Result<HttpsConnector<C>, TlsError> {
    let identity = match &config.auth_info.exec {
        Some(program) if !signed_in => plugin::certificate(program)?
            .map(|(certificate, key)| Identity::from_pem(certificate.as_bytes(), key.as_bytes()))
            .transpose(),
        _ => Ok(None),
    };
    let identity = match identity {
        Ok(None) => Identity::of(&config.auth_info),
        identity => identity,
    };
    let client = identity.and_then(|identity| client(config, identity)).map_err(TlsError::Unusable)?;
    let builder = HttpsConnectorBuilder::new().with_tls_config(client).https_or_http();
    let builder = match &config.tls_server_name {
        Some(name) => {
            let server = ServerName::try_from(name.clone());
            let server = server
                .map_err(|error| TlsError::Unusable(format!("`tls-server-name` is `{name}`: {error}")))?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(server))
        }
        None => builder,
    };
    // HTTP/2 has no upgrade to a WebSocket, which streams to pods are.
    Ok(builder.enable_http1().wrap_connector(inner))
}

fn client(config: &Config, identity: Option<Identity>) -> Result<ClientConfig, String> {
    let builder = tls_client().map_err(|error| error.to_string())?;
    let builder = if config.accept_invalid_certs {
        builder.dangerous().with_custom_certificate_verifier(any_server())
    } else if let Some(path) = &config.root_cert_file {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AuthorityFile::open(path.clone())?))
    } else if let Some(authorities) = &config.root_cert {
        let roots = trusting(authorities.iter().map(|der| CertificateDer::from(der.clone())));
        let roots = roots.map_err(|error| format!("`certificate-authority` cannot be used: {error}"))?;
        builder.with_root_certificates(roots)
    } else {
        builder.with_root_certificates(system_authorities().clone())
    };
    match identity {
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("the client certificate cannot be used: {error}")),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn trusting(
    certificates: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    certificates.into_iter().try_for_each(|certificate| roots.add(certificate))?;
    Ok(roots)
}
