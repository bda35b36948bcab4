use std::path::PathBuf;

use garden_build_core::{Error, ErrorKind};
use garden_registry::TlsProblem;

use crate::{AsksForTls, ReachError};

impl From<ReachError> for Error {
    fn from(error: ReachError) -> Self {
        let kind = kind(&error);
        let retryable = kind == ErrorKind::Unreachable;
        let report = Self::new(kind, error.to_string()).with_hint(hint(&error)).with_source(error);
        if retryable { report.retryable() } else { report }
    }
}

fn kind(error: &ReachError) -> ErrorKind {
    match error {
        ReachError::BadAddress { .. }
        | ReachError::BadConfig { .. }
        | ReachError::NoContext { .. }
        | ReachError::BadContext { .. }
        | ReachError::BadCertificate { .. }
        | ReachError::NoCertificates { .. }
        | ReachError::NotASocket { .. }
        | ReachError::SpeaksTls { .. }
        | ReachError::NoSsh { .. } => ErrorKind::Config,
        ReachError::NoPermission { .. } => ErrorKind::PermissionDenied,
        ReachError::NoSocket { .. }
        | ReachError::Refused { .. }
        | ReachError::UnknownHost { .. }
        | ReachError::TimedOut { .. }
        | ReachError::Proxy { .. }
        | ReachError::Network { .. }
        | ReachError::Ssh { .. } => ErrorKind::Unreachable,
        ReachError::Tls { problem, .. } => match problem {
            TlsProblem::CertificateWanted | TlsProblem::CertificateRefused { .. } | TlsProblem::HungUp => {
                ErrorKind::Unauthorized
            }
            TlsProblem::NotTls | TlsProblem::UnknownAuthority { .. } => ErrorKind::Config,
            _ => ErrorKind::Unexpected,
        },
    }
}

const FILES: &str = "put ca.pem, cert.pem and key.pem as PEM into the directory that DOCKER_CERT_PATH names, the key not encrypted";

fn hint(error: &ReachError) -> String {
    let hint = match error {
        ReachError::BadAddress { remedy, .. } => remedy,
        ReachError::BadConfig { .. } => {
            "correct the file, or name the directory of another one with DOCKER_CONFIG"
        }
        ReachError::NoContext { .. } => {
            "`docker context ls` lists those that exist: name one of them, or none to use this machine's daemon"
        }
        ReachError::BadContext { context, .. } => {
            return format!("make it anew with `docker context create {context}`, or use another one");
        }
        ReachError::BadCertificate { asked_by, .. } => match asked_by {
            AsksForTls::Variable(name) => {
                return format!("{FILES}; or unset {name}, whose every value but an empty one asks for TLS");
            }
            AsksForTls::Address => FILES,
            AsksForTls::Context(_) => {
                "give the context other files with `docker context update --docker`: PEM, and the key not encrypted"
            }
        },
        ReachError::NoCertificates { .. } => {
            "set DOCKER_CERT_PATH to the directory with ca.pem, cert.pem and key.pem, or unset the variable"
        }
        ReachError::NoSocket { others, .. } | ReachError::Refused { others, .. } if !others.is_empty() => {
            return format!("start Docker, or {}", use_another(others));
        }
        ReachError::NoSocket { is_relative: true, .. } => {
            "the path is taken from the working directory on, as it does not begin with a slash: write three of them, as \
             in unix:///var/run/docker.sock"
        }
        ReachError::NoSocket { .. } => {
            "start Docker (`systemctl start docker`, or Docker Desktop), or set DOCKER_HOST to the address of a daemon"
        }
        ReachError::NotASocket { .. } => "correct the path: dockerd's `--host` says where its socket is",
        ReachError::NoPermission { others, .. } => {
            let joined =
                "join the group that owns the socket (`sudo usermod -aG docker $USER`, then log in again)";
            if others.is_empty() {
                return format!("{joined}, or use rootless Docker");
            }
            return format!("{joined}, or {}", use_another(others));
        }
        ReachError::Refused { .. } => "start Docker there, and check the address, and the port if it has one",
        ReachError::UnknownHost { .. } => "check the name and this machine's DNS",
        ReachError::TimedOut { .. } => {
            "check host and port, and whether a firewall drops the connection or a VPN is needed"
        }
        ReachError::Proxy { .. } => {
            "check the proxy, and that it makes tunnels (CONNECT) to the daemon's port; a host that NO_PROXY lists is reached without a proxy"
        }
        ReachError::Network { .. } => "check the address, and this machine's network",
        ReachError::Tls { problem, .. } => return hint_for_tls(problem).to_owned(),
        ReachError::SpeaksTls { .. } => {
            "name it with DOCKER_HOST, and set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH to the directory with ca.pem, \
             cert.pem and key.pem; or add these to the context (`docker context update --docker`)"
        }
        ReachError::NoSsh { .. } => "install an OpenSSH client, or use another kind of address",
        ReachError::Ssh { destination, .. } => {
            return format!(
                "`ssh {destination} docker version` has to work without a question: keys in an agent, the host in \
                 known_hosts, and Docker 18.09 or later there"
            );
        }
    };
    hint.to_owned()
}

fn use_another(others: &[PathBuf]) -> String {
    let others: Vec<_> = others.iter().map(|path| format!("DOCKER_HOST=unix://{}", path.display())).collect();
    format!("use the daemon of another socket that is here: set {}", others.join(" or "))
}

fn hint_for_tls(problem: &TlsProblem) -> &'static str {
    match problem {
        TlsProblem::UnknownAuthority { .. } => {
            "let ca.pem be the certificate of the authority that signed the daemon's"
        }
        TlsProblem::WrongName { .. } => {
            "name the daemon as its certificate does, or have the name added to the certificate's subject alternative \
             names"
        }
        TlsProblem::Expired => "renew the daemon's certificate, or check this machine's clock",
        TlsProblem::NotYetValid => "check this machine's clock and the daemon's",
        TlsProblem::AuthorityAsServer => {
            "give the daemon a certificate that is not an authority's own: sign it with the authority, with \
             `basicConstraints=critical,CA:FALSE`"
        }
        TlsProblem::NotTls => {
            "check the port: 2376 is the usual one with TLS; if the daemon is to be used without, unset DOCKER_TLS_VERIFY \
             and DOCKER_TLS, or remove TLS from the context"
        }
        TlsProblem::CertificateWanted => {
            "put cert.pem and key.pem, signed by an authority of the daemon's `--tlscacert`, into the directory with \
             ca.pem: DOCKER_CERT_PATH, or the context's"
        }
        TlsProblem::CertificateRefused { .. } | TlsProblem::HungUp => {
            "let cert.pem be signed by an authority of the daemon's `--tlscacert`, be for client authentication, and be \
             valid now; the daemon's log says what it refuses"
        }
        _ => "check the port, and whether a proxy answers in the daemon's place",
    }
}
