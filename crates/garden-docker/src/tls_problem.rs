use std::error::Error as StdError;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};

/// Why no TLS connection to a Docker daemon came about.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The daemon's certificate was signed by an authority that is not trusted.
    #[error("its certificate was signed by none of {authorities}")]
    UnknownAuthority {
        /// Who is trusted: a file, or this machine's authorities.
        authorities: String,
    },
    /// The daemon's certificate is for other names.
    #[error("its certificate is not for {host}, but for {}", .names.join(", "))]
    WrongName {
        /// What the daemon was called.
        host: String,
        /// The names in its certificate.
        names: Vec<String>,
    },
    /// The daemon's certificate was valid once.
    #[error("its certificate has expired")]
    Expired,
    /// The daemon's certificate will be valid one day.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// The daemon presents a certificate authority's own certificate, as `openssl req -x509` makes them by default.
    /// RFC 5280 does not let an authority's certificate stand for a server.
    #[error("its certificate is that of an authority, which may not stand for a server")]
    AuthorityAsServer,
    /// The answer is not TLS, most likely plain HTTP.
    #[error("it does not speak TLS there")]
    NotTls,
    /// The daemon wants to know who we are, and we have no certificate that says so.
    #[error("it asks for a client certificate, and there is none")]
    CertificateWanted,
    /// The daemon does not accept our certificate.
    #[error("it does not accept our certificate {} ({reason})", .file.display())]
    CertificateRefused {
        /// Our certificate.
        file: PathBuf,
        /// What the daemon said: the name of TLS's alert.
        reason: String,
    },
    /// The daemon closed the connection before it said anything.
    #[error(
        "it hung up after the handshake without a word, as daemons do that do not accept a client's certificate"
    )]
    HungUp,
    /// The handshake failed for another reason.
    #[error("the TLS handshake failed: {reason}")]
    Handshake {
        /// What failed.
        reason: String,
    },
}

/// What has to be known of a connection to say what is wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct TlsContext {
    /// What the daemon is called.
    pub(crate) host: String,
    /// Who is trusted, as in "signed by none of …".
    pub(crate) authorities: String,
    /// Our certificate.
    pub(crate) certificate: Option<PathBuf>,
}

impl TlsContext {
    /// Finds out what of TLS is behind `error`, if it is about TLS at all.
    pub(crate) fn problem(&self, error: &std::io::Error) -> Option<TlsProblem> {
        let error: &(dyn StdError + 'static) = error.get_ref()?;
        error.downcast_ref::<TlsError>().map(|error| self.problem_of(error))
    }

    fn problem_of(&self, error: &TlsError) -> TlsProblem {
        match error {
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => TlsProblem::NotTls,
            TlsError::InvalidCertificate(certificate) => self.problem_of_certificate(certificate, error),
            TlsError::AlertReceived(alert) if is_about_certificate(*alert) => self.refused(*alert),
            // Before TLS 1.3, servers may say so of a certificate that is missing (RFC 5246, section 7.4.6), and Go does
            // since 1.21.
            TlsError::AlertReceived(AlertDescription::HandshakeFailure) if self.certificate.is_none() => {
                TlsProblem::CertificateWanted
            }
            error => TlsProblem::Handshake { reason: error.to_string() },
        }
    }

    fn problem_of_certificate(&self, certificate: &CertificateError, error: &TlsError) -> TlsProblem {
        match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsProblem::UnknownAuthority { authorities: self.authorities.clone() }
            }
            CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                TlsProblem::WrongName {
                    host: self.host.clone(),
                    names: presented.iter().map(|name| readable(name)).collect(),
                }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName { host: self.host.clone(), names: vec!["no name at all".to_owned()] }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsProblem::NotYetValid
            }
            // rustls has no variant for it, and we do not link webpki only to name its own.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                TlsProblem::AuthorityAsServer
            }
            _ => TlsProblem::Handshake { reason: error.to_string() },
        }
    }

    fn refused(&self, alert: AlertDescription) -> TlsProblem {
        match &self.certificate {
            None => TlsProblem::CertificateWanted,
            Some(file) => TlsProblem::CertificateRefused { file: file.clone(), reason: format!("{alert:?}") },
        }
    }
}

/// Tells whether an alert is about our certificate. Source: RFC 8446, section 6.2.
fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

/// rustls names what a certificate is for as `DnsName("example.org")`.
fn readable(name: &str) -> String {
    let inner = name.split_once("(\"").and_then(|(_, rest)| rest.strip_suffix("\")"));
    let inner = inner.or_else(|| name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')));
    inner.unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_handshake_is_about_our_certificate_only_if_there_is_none() {
        let mut context =
            TlsContext { host: "docker".to_owned(), authorities: "x".to_owned(), certificate: None };
        let error = || std::io::Error::other(TlsError::AlertReceived(AlertDescription::HandshakeFailure));
        assert_eq!(context.problem(&error()), Some(TlsProblem::CertificateWanted));
        context.certificate = Some("cert.pem".into());
        assert!(matches!(context.problem(&error()), Some(TlsProblem::Handshake { .. })));
        assert_eq!(context.problem(&std::io::ErrorKind::BrokenPipe.into()), None);
    }
}
