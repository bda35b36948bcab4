//! What is wrong when no TLS connection comes about, with whatever server.

use std::error::Error as StdError;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};

use crate::cause::chain;

/// Why no TLS connection to a server came about. What can be done about it depends on the server.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The server's certificate was signed by an authority that is not trusted.
    #[error("its certificate was signed by none of {authorities}")]
    UnknownAuthority {
        /// Who is trusted: a file, or this machine's authorities.
        authorities: String,
    },
    /// The server's certificate is for other names.
    #[error("its certificate is not for {host}, but for {}", .names.join(", "))]
    WrongName {
        /// What the server was called.
        host: String,
        /// The names in its certificate.
        names: Vec<String>,
    },
    /// The server's certificate was valid once.
    #[error("its certificate has expired")]
    Expired,
    /// The server's certificate will be valid one day.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// The server presents a certificate authority's own certificate, as `openssl req -x509` makes them by default.
    /// RFC 5280 does not let an authority's certificate stand for a server.
    #[error("its certificate is that of an authority, which may not stand for a server")]
    AuthorityAsServer,
    /// The answer is not TLS, most likely plain HTTP.
    #[error("it does not speak TLS there")]
    NotTls,
    /// The server wants to know who we are, and we have no certificate that says so.
    #[error("it asks for a client certificate, and there is none")]
    CertificateWanted,
    /// The server does not accept our certificate.
    #[error("it does not accept our certificate {} ({reason})", .file.display())]
    CertificateRefused {
        /// Our certificate.
        file: PathBuf,
        /// What the server said: the name of TLS's alert.
        reason: String,
    },
    /// The server closed the connection before it said anything.
    #[error(
        "it hung up after the handshake without a word, as servers do that do not accept a client's certificate"
    )]
    HungUp,
    /// The handshake failed for another reason.
    #[error("the TLS handshake failed: {reason}")]
    Handshake {
        /// What failed.
        reason: String,
    },
}

/// What this side brings to a TLS connection: it has to be known to say what is wrong with one.
#[derive(Clone, Debug)]
pub struct TlsSide {
    /// What the server is called.
    pub host: String,
    /// Who is trusted, as in "signed by none of …".
    pub authorities: String,
    /// What is shown to a server that asks who we are.
    pub certificate: ClientCertificate,
}

/// What a client has for a server that asks who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientCertificate {
    /// Clients of this kind have no certificates, so hardly any server of theirs asks for one.
    Never,
    /// The client may have one, and was given none.
    Missing,
    /// The certificate in this file.
    File(PathBuf),
}

impl TlsSide {
    /// Finds out what of TLS is behind `error`, if it is about TLS at all.
    pub fn problem(&self, error: &(dyn StdError + 'static)) -> Option<TlsProblem> {
        let error = chain(error).find_map(|error| error.downcast_ref::<TlsError>())?;
        Some(self.problem_of(error))
    }

    fn problem_of(&self, error: &TlsError) -> TlsProblem {
        match error {
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => TlsProblem::NotTls,
            TlsError::InvalidCertificate(certificate) => self.problem_of_certificate(certificate, error),
            TlsError::AlertReceived(alert) => {
                self.refused(*alert).unwrap_or_else(|| TlsProblem::Handshake { reason: error.to_string() })
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

    /// Returns what an alert says of our certificate; `None` if it is about something else.
    fn refused(&self, alert: AlertDescription) -> Option<TlsProblem> {
        match &self.certificate {
            ClientCertificate::File(file) if is_about_certificate(alert) => {
                Some(TlsProblem::CertificateRefused { file: file.clone(), reason: format!("{alert:?}") })
            }
            // Before TLS 1.3, servers may say so of a certificate that is missing (RFC 5246, section 7.4.6), and Go does
            // since 1.21. They say the same if there is no cipher suite that both know, so it has to be likely that they
            // have asked for one.
            ClientCertificate::Missing
                if is_about_certificate(alert) || alert == AlertDescription::HandshakeFailure =>
            {
                Some(TlsProblem::CertificateWanted)
            }
            ClientCertificate::Never if says_that_certificate_is_missing(alert) => {
                Some(TlsProblem::CertificateWanted)
            }
            _ => None,
        }
    }
}

/// Returns whether `words` are those of a builder that complains about a registry's TLS: there is none, or none that is
/// trusted. kaniko, `BuildKit` and Docker are written in Go, whose words they pass on.
///
/// Source: Go, `net/http` (`transport.go`), `crypto/tls` and `crypto/x509`.
pub fn is_complaint_about_tls(words: &str) -> bool {
    ["HTTP response to HTTPS client", "x509:", "tls: "].iter().any(|sign| words.contains(sign))
}

/// Returns whether an alert is about our certificate. Source: RFC 8446, section 6.2.
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

/// Returns whether an alert can mean only that we have shown no certificate. Sources: RFC 8446, section 6.2;
/// `crypto/tls/handshake_server.go` of Go before 1.21 for the last one.
fn says_that_certificate_is_missing(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
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

    fn problem(certificate: ClientCertificate, alert: AlertDescription) -> TlsProblem {
        let side = TlsSide { host: "docker".to_owned(), authorities: "x".to_owned(), certificate };
        assert_eq!(side.problem(&std::io::Error::from(std::io::ErrorKind::BrokenPipe)), None);
        side.problem(&std::io::Error::other(TlsError::AlertReceived(alert))).expect("it is about TLS")
    }

    #[test]
    fn a_failed_handshake_is_about_a_certificate_only_if_one_could_have_been_given() {
        let failure = AlertDescription::HandshakeFailure;
        assert_eq!(problem(ClientCertificate::Missing, failure), TlsProblem::CertificateWanted);
        for certificate in [ClientCertificate::Never, ClientCertificate::File("cert.pem".into())] {
            let problem = problem(certificate, failure);
            assert!(
                matches!(&problem, TlsProblem::Handshake { reason } if reason.contains("HandshakeFailure")),
                "{problem}"
            );
        }
    }

    #[test]
    fn who_never_has_a_certificate_misses_one_only_if_the_server_says_so() {
        use AlertDescription as Alert;
        for (alert, is_wanted) in [
            (Alert::CertificateRequired, true),
            (Alert::BadCertificate, true),
            (Alert::AccessDenied, false),
            (Alert::UnknownCA, false),
            (Alert::ProtocolVersion, false),
        ] {
            let never = problem(ClientCertificate::Never, alert);
            assert_eq!(never == TlsProblem::CertificateWanted, is_wanted, "{never}");
            assert_eq!(matches!(never, TlsProblem::Handshake { .. }), !is_wanted, "{never}");
        }
        let refused = problem(ClientCertificate::File("cert.pem".into()), Alert::UnknownCA);
        assert!(matches!(refused, TlsProblem::CertificateRefused { .. }), "{refused}");
    }
}
