//! What an error says to the caller of garden-build about a failure, and about what to do.

use garden_build_core::{Error, ErrorKind, Hint, HintCode, Remedy};
use http::StatusCode;

use crate::docker_config::CredentialsError;
use crate::error::{Identity, Refusal, RegistryError};
use crate::helper_answer::HelperProblem;
use crate::remedies::Remedies;
use crate::server::Server;
use crate::tls_problem::TlsProblem;

impl RegistryError {
    /// Explains what happened and, in the words of `remedies`, what to do.
    pub fn explain(self, remedies: &Remedies) -> Error {
        let kind = kind(&self);
        let retryable = matches!(kind, ErrorKind::Unreachable);
        let hint = hint(&self, remedies);
        let mut report = Error::new(kind, self.to_string()).with_source(self);
        if retryable {
            report = report.retryable();
        }
        match hint {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }
}

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Self {
        let hint = match &error {
            CredentialsError::Unreadable { .. } => {
                "let this program read the file, or set DOCKER_CONFIG to the directory of another"
            }
            CredentialsError::BadHelper { .. } => {
                "name the helper without `docker-credential-`, and without a path: it is looked for in PATH"
            }
            _ => {
                "write it by `docker login`; a secret is made with `kubectl create secret docker-registry`, or from a \
                 Docker config.json"
            }
        };
        Error::new(ErrorKind::Config, error.to_string()).with_hint(hint).with_source(error)
    }
}

fn kind(error: &RegistryError) -> ErrorKind {
    match error {
        RegistryError::InvalidRegistry { .. }
        | RegistryError::InvalidCaCertificates { .. }
        | RegistryError::WrongRegistry { .. }
        | RegistryError::Malformed { .. } => ErrorKind::Config,
        RegistryError::Unauthorized(_) => ErrorKind::Unauthorized,
        RegistryError::Forbidden(_) => ErrorKind::PermissionDenied,
        RegistryError::Unreachable { .. } | RegistryError::Timeout { .. } | RegistryError::Busy { .. } => {
            ErrorKind::Unreachable
        }
        // A certificate does not become valid by trying again.
        RegistryError::Tls { .. }
        | RegistryError::Authentication { .. }
        | RegistryError::Redirect { .. }
        | RegistryError::TooLarge { .. }
        | RegistryError::WrongContent { .. }
        | RegistryError::Missing { .. }
        | RegistryError::Unexpected { .. } => ErrorKind::Unexpected,
    }
}

fn hint(error: &RegistryError, remedies: &Remedies) -> Option<Hint> {
    let hint = match error {
        RegistryError::InvalidRegistry { .. } => return Some(remedies.name.into()),
        RegistryError::InvalidCaCertificates { .. } => return Some(remedies.certificates.into()),
        RegistryError::Unauthorized(refusal) => return Some(unauthorized(refusal, remedies)),
        RegistryError::Forbidden(refusal) => return Some(forbidden(refusal, remedies)),
        RegistryError::Tls { server, problem, .. } => return hint_for_tls(server, problem, remedies),
        RegistryError::Unreachable { server, .. } if may_speak_tls(server) => {
            return Some(within(remedies.tls, |tls| {
                format!("check host and port, and whether the server speaks TLS: then {tls}")
            }));
        }
        RegistryError::Unreachable { .. } => {
            "check host and port, and whether a proxy or a firewall is in between"
        }
        RegistryError::Unexpected { server, status, .. }
            if *status == StatusCode::BAD_REQUEST && may_speak_tls(server) =>
        {
            return Some(within(remedies.tls, |tls| format!("if the registry speaks TLS, {tls}")));
        }
        RegistryError::Unexpected { status, .. } if status.is_server_error() => {
            "look into the registry's log, or ask whoever runs it, and try again once it works"
        }
        RegistryError::Unexpected { .. } | RegistryError::TooLarge { .. } => {
            "check that host and port are those of a registry, and that no proxy answers in its place"
        }
        RegistryError::Timeout { .. } => {
            "try again; if it stays so, check host and port, and whether a firewall drops the connection"
        }
        RegistryError::Busy { status, .. } if *status == StatusCode::TOO_MANY_REQUESTS => {
            return Some(within(remedies.credentials, |log_in| {
                format!("wait and try again; registries often allow more to those who log in: {log_in}")
            }));
        }
        RegistryError::Busy { .. } => "wait and try again; if it stays so, ask whoever runs the server",
        RegistryError::Authentication { .. } => {
            "check the registry's settings for authentication: it has to offer Basic, or Bearer with a token \
             server that works and, if the registry has TLS, has it too"
        }
        RegistryError::Redirect { .. } => {
            return Some(within(remedies.name, |name| {
                format!(
                    "{name}; or correct the external address in the settings of the registry or of the proxy before it"
                )
            }));
        }
        RegistryError::Malformed { .. } => return None,
        RegistryError::WrongContent { .. } | RegistryError::Missing { .. } => {
            "the image is damaged there: build or push it anew, and look into the registry's storage and its log"
        }
        RegistryError::WrongRegistry { .. } => {
            "name an image of this registry, or ask with a client that was made for the image's"
        }
    };
    Some(hint.into())
}

/// Puts a remedy into a longer sentence.
fn within(remedy: Remedy, sentence: impl FnOnce(&str) -> String) -> Hint {
    Hint::from(remedy).with_text(sentence(remedy.text()))
}

/// Returns whether the server may be one with TLS that was asked without. Only the registry's own scheme can be set.
fn may_speak_tls(server: &Server) -> bool {
    server.is_registry() && server.speaks_plain_http()
}

fn hint_for_tls(server: &Server, problem: &TlsProblem, remedies: &Remedies) -> Option<Hint> {
    let hint = match problem {
        TlsProblem::UnknownAuthority { .. } => return Some(remedies.authority.into()),
        TlsProblem::WrongName { .. } => {
            "name the registry as its certificate does, or have the name added to the certificate's \
             subject alternative names"
        }
        TlsProblem::Expired => "renew the server's certificate, or check this machine's clock",
        TlsProblem::NotYetValid => "check this machine's clock and the server's",
        TlsProblem::AuthorityAsServer => {
            "give the server a certificate that is not an authority's own: make it with \
             `basicConstraints=critical,CA:FALSE`, or sign it with an authority"
        }
        TlsProblem::NotTls if server.is_registry() => {
            return Some(within(remedies.plain_http, |plain_http| {
                format!("the server seems to speak plain HTTP: if this is intended, {plain_http}")
            }));
        }
        TlsProblem::NotTls => {
            "the server seems to speak plain HTTP: correct the address that the registry's settings give for it"
        }
        TlsProblem::CertificateWanted | TlsProblem::CertificateRefused { .. } | TlsProblem::HungUp => {
            "have the server let clients in without a certificate: registries are shown passwords and tokens only"
        }
        TlsProblem::Handshake { .. } => return None,
    };
    Some(hint.into())
}

fn unauthorized(refusal: &Refusal, remedies: &Remedies) -> Hint {
    let Refusal { registry, repository, identity, .. } = refusal;
    match identity {
        Identity::Anonymous => remedies.credentials.into(),
        Identity::Credentials { origin, key } => log_in(format!(
            "check the entry `{key}` of {origin}: {registry} does not accept it for `{repository}`"
        )),
        Identity::HelperLogin { origin, key, helper } => log_in(format!(
            "log in anew where `docker-credential-{helper}`, named by {origin}, has it from: {registry} does not \
             accept what it has for `{key}` for `{repository}`"
        )),
        Identity::Helper { helper, problem, .. } => {
            let remedy = match problem {
                HelperProblem::NotInstalled => format!("install `docker-credential-{helper}` here"),
                HelperProblem::NotAllowed => remedies.helpers.to_string(),
                HelperProblem::Failed { .. } => {
                    format!("mend what `docker-credential-{helper}` complains of")
                }
                HelperProblem::NoLogin | HelperProblem::NotAsked => {
                    format!("log in where `docker-credential-{helper}` has its credentials from")
                }
            };
            within(remedies.credentials, |log_in| format!("{remedy}, or {log_in}"))
        }
    }
}

fn log_in(text: String) -> Hint {
    Hint::new(text).with_code(HintCode::LogIn)
}

fn forbidden(refusal: &Refusal, remedies: &Remedies) -> Hint {
    match &refusal.identity {
        Identity::Credentials { origin, key } => log_in(format!(
            "give the user in the entry `{key}` of {origin} access to `{}` at {}",
            refusal.repository, refusal.registry
        )),
        Identity::HelperLogin { origin, helper, .. } => log_in(format!(
            "give the user that `docker-credential-{helper}`, named by {origin}, logs in access to `{}` at {}",
            refusal.repository, refusal.registry
        )),
        _ => unauthorized(refusal, remedies),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::origin::Origin;

    fn refusal(identity: Identity) -> Box<Refusal> {
        let (registry, repository) = ("registry.example".to_owned(), "team/api".to_owned());
        Box::new(Refusal { registry, repository, identity, reason: None })
    }

    const REMEDIES: Remedies = Remedies {
        name: Remedy::new("name another one"),
        certificates: Remedy::new("give certificates"),
        authority: Remedy::new("trust the authority"),
        plain_http: Remedy::new("do without TLS"),
        tls: Remedy::new("use TLS"),
        helpers: Remedy::new("allow the helper"),
        credentials: Remedy::new("log in"),
    };

    fn server(url: &str) -> Server {
        let origin = Origin::of(&url.parse().expect("a URL"));
        Server::registry("registry.example", origin)
    }

    fn token_server(url: &str) -> Server {
        let origin = Origin::of(&url.parse().expect("a URL")).expect("an origin");
        Server::named_by("registry.example", origin)
    }

    fn hint_of(error: RegistryError) -> String {
        error.explain(&REMEDIES).hint().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_refusal_names_registry_repository_and_remedy() {
        let origin = "secret default/regcred".to_owned();
        let key = "*.example".to_owned();
        let named = || (origin.clone(), key.clone(), "ecr-login".to_owned());
        let without = |problem| {
            let (origin, key, helper) = named();
            Identity::Helper { origin, key, helper, problem }
        };
        let (helper_origin, helper_key, helper) = named();
        let with = Identity::HelperLogin { origin: helper_origin, key: helper_key, helper };
        let failed = HelperProblem::Failed { reason: "no route".to_owned() };
        for (identity, expected) in [
            (Identity::Anonymous, "log in"),
            (
                Identity::Credentials { origin: origin.clone(), key: key.clone() },
                "the entry `*.example` of secret default/regcred",
            ),
            (with, "`docker-credential-ecr-login`, named by secret default/regcred"),
            (without(HelperProblem::NotInstalled), "install `docker-credential-ecr-login` here"),
            (without(HelperProblem::NotAllowed), "allow the helper, or log in"),
            (without(HelperProblem::NoLogin), "log in where `docker-credential-ecr-login` has"),
            (without(failed), "mend what `docker-credential-ecr-login` complains of"),
        ] {
            let error = RegistryError::Unauthorized(refusal(identity.clone())).explain(&REMEDIES);
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
            assert!(!error.is_retryable());
            let shown = error.to_string();
            assert!(shown.contains("registry.example") && shown.contains("`team/api`"), "{shown}");
            assert!(error.hint().is_some_and(|hint| hint.contains(expected)), "{shown}");
            let forbidden = RegistryError::Forbidden(refusal(identity)).explain(&REMEDIES);
            assert_eq!(forbidden.kind(), ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn every_other_failure_has_a_remedy() {
        let server = || server("https://registry.example");
        let reason = || "broken".to_owned();
        let busy = |status| RegistryError::Busy { server: server(), status, retry_after: None };
        let unexpected = |status| {
            let repository = "team/api".to_owned();
            RegistryError::Unexpected { server: server(), repository, status, reason: reason() }
        };
        let registry = || "registry.example".to_owned();
        let reference = "other.example/api:v1".to_owned();
        for (error, expected) in [
            (RegistryError::Timeout { server: server(), after: Duration::from_secs(30) }, "firewall"),
            (busy(StatusCode::TOO_MANY_REQUESTS), "to those who log in: log in"),
            (busy(StatusCode::SERVICE_UNAVAILABLE), "wait and try again"),
            (RegistryError::Authentication { registry: registry(), reason: reason() }, "token server"),
            (RegistryError::Redirect { server: server(), reason: reason() }, "name another one; or correct"),
            (RegistryError::TooLarge { server: server(), limit: 1 }, "proxy"),
            (RegistryError::WrongRegistry { registry: registry(), reference }, "image of this registry"),
            (unexpected(StatusCode::INTERNAL_SERVER_ERROR), "the registry's log"),
            (unexpected(StatusCode::OK), "host and port"),
        ] {
            let shown = error.to_string();
            let hint = hint_of(error);
            assert!(hint.contains(expected), "{shown}: {hint:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_retryable() {
        let source = || std::io::Error::other("broken").into();
        let server = || server("https://registry.example");
        let unreachable =
            RegistryError::Unreachable { server: server(), source: source() }.explain(&REMEDIES);
        assert!(unreachable.is_retryable());
        assert!(unreachable.message().ends_with("cannot be reached: broken"), "{unreachable}");
        let problem = TlsProblem::UnknownAuthority { authorities: "those of a test".to_owned() };
        let tls = RegistryError::Tls { server: server(), problem, source: source() }.explain(&REMEDIES);
        assert!(!tls.is_retryable());
        assert_eq!(tls.hint(), Some("trust the authority"));
    }

    #[test]
    fn only_the_registry_s_own_scheme_can_be_set() {
        let source = || std::io::Error::other("broken").into();
        let unreachable = |server| hint_of(RegistryError::Unreachable { server, source: source() });
        let plain = |server| {
            let problem = TlsProblem::NotTls;
            hint_of(RegistryError::Tls { server, problem, source: source() })
        };
        assert!(unreachable(server("http://registry.example:5000")).contains("use TLS"));
        assert!(!unreachable(server("https://registry.example")).contains("use TLS"));
        assert!(!unreachable(token_server("http://tokens.example")).contains("use TLS"));
        assert!(plain(server("https://registry.example")).contains("do without TLS"));
        assert!(!plain(token_server("https://tokens.example")).contains("do without TLS"));
        let refused = |server, reason: &str| {
            let (repository, reason) = ("team/api".to_owned(), reason.to_owned());
            hint_of(RegistryError::Unexpected { server, repository, status: StatusCode::BAD_REQUEST, reason })
        };
        assert!(refused(server("http://registry.example"), "TLS wanted").contains("use TLS"));
        // What a server says decides nothing.
        assert!(!refused(server("https://registry.example"), "see http://docs.example").contains("use TLS"));
    }
}
