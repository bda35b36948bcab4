use std::error::Error as StdError;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind, Hint, HintCode, Remedy, seconds};

use crate::api::Refusal;
use crate::api::credential_plugin::NoCredentials;
use crate::api::unreached::place_and_reason;
use crate::diagnosis::Diagnosis;

/// Why the cluster did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The kubeconfig cannot be read, or does not have the configured context.
    #[error("the cluster's configuration cannot be used: {reason}")]
    Kubeconfig {
        /// What is wrong with it.
        reason: String,
    },
    /// The program that the kubeconfig names for credentials has none.
    #[error("{reason}")]
    CredentialPlugin {
        /// Which program, and why, without anything that may be a secret.
        reason: String,
        /// What to do about it.
        hint: Remedy,
    },
    /// The API server answered a request with a failure.
    #[error("the cluster refused to {action}: {}", .status.message)]
    Refused {
        /// What was asked for, such as `create Pod my-project/kaniko-api-1a2b3c`.
        action: String,
        /// The API server's answer.
        status: Box<kube::core::Status>,
        /// What to do about it, if whoever asked knows more than the answer says.
        hint: Option<Remedy>,
    },
    /// The API server could not be reached, or broke off.
    #[error("the cluster's API server{place} could not be reached to {action}: {reason}")]
    Unreachable {
        /// What was asked for.
        action: String,
        /// Where the server is, as ` at https://…`; empty if the client was made elsewhere and the address is unknown.
        place: String,
        /// Why it was not reached.
        reason: String,
        /// What the connection said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("the cluster's API server did not answer within {} when asked to {action}", seconds(*.after))]
    NoAnswer {
        /// What was asked for.
        action: String,
        /// How long we waited.
        after: Duration,
    },
    /// A stream to a pod ended before everything was sent.
    #[error("the stream to {target} was cut: {reason}")]
    StreamCut {
        /// The pod, and which of its streams.
        target: String,
        /// How it ended.
        reason: String,
    },
    /// A registry secret cannot be used.
    #[error("{field}: {reason}")]
    PullSecret {
        /// The option that names it.
        field: String,
        /// Which secret, and what is wrong with it.
        reason: String,
    },
    /// A pod cannot run, or died.
    #[error("{0}")]
    Pod(Diagnosis),
    /// More than one thing failed.
    #[error("{first}; {others}")]
    Several {
        /// The first failure.
        first: Box<ClusterError>,
        /// What the other messages are.
        others: String,
    },
}

impl ClusterError {
    /// Returns the HTTP status with which the API server refused, if it did.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// Whether the same request may be answered otherwise a moment later: the connection failed, or the server is busy, is being
    /// restarted, or does not reach what is behind it. One that has not answered for long is not asked again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status.code, 429 | 500..),
            Self::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// Gives a refusal the remedy of whoever knows which option made the object what it is.
    pub(crate) fn advised(self, remedy: impl FnOnce(Refusal) -> Option<Remedy>) -> Self {
        match self {
            Self::Refused { action, status, .. } => {
                let hint = remedy(Refusal::of(&status.message));
                Self::Refused { action, status, hint }
            }
            error => error,
        }
    }

    /// Joins failures that do not depend on each other; `None` if there are none.
    pub(crate) fn all(failures: Vec<Self>) -> Option<Self> {
        let mut failures = failures.into_iter();
        let first = failures.next()?;
        let others: Vec<_> = failures.map(|failure| failure.to_string()).collect();
        if others.is_empty() {
            return Some(first);
        }
        Some(Self::Several { first: Box::new(first), others: others.join("; ") })
    }

    /// States that the request for `action` failed with `error`.
    pub(crate) fn of(action: impl Into<String>, error: kube::Error) -> Self {
        let action = action.into();
        match error {
            kube::Error::Api(status) => Self::Refused { action, status, hint: None },
            error => {
                let known = Self::without_connection(&error)
                    .or_else(|| NoCredentials::behind(&error, None).map(|found| found.report()));
                known.unwrap_or_else(|| {
                    let (place, reason) = place_and_reason(&error);
                    Self::Unreachable { action, place, reason, source: Box::new(error) }
                })
            }
        }
    }

    /// Finds out whether `error` is that of a client that could not even connect: see [`connect`](crate::api::connect).
    fn without_connection(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            match error.downcast_ref::<Self>() {
                Some(Self::Kubeconfig { reason }) => {
                    return Some(Self::Kubeconfig { reason: reason.clone() });
                }
                Some(Self::CredentialPlugin { reason, hint }) => {
                    return Some(Self::CredentialPlugin { reason: reason.clone(), hint: *hint });
                }
                _ => next = error.source(),
            }
        }
        None
    }
}

impl From<ClusterError> for Error {
    fn from(error: ClusterError) -> Self {
        let message = error.to_string();
        match error {
            ClusterError::Kubeconfig { .. } => Self::new(ErrorKind::Config, message).with_hint(Remedy::set(
                &["kubeconfig", "context"],
                "set the provider's `kubeconfig` and `context`, or KUBECONFIG",
            )),
            // It names the option itself.
            ClusterError::PullSecret { .. } => Self::new(ErrorKind::Config, message),
            ClusterError::CredentialPlugin { hint, .. } => {
                Self::new(ErrorKind::Unauthorized, message).with_hint(hint)
            }
            ClusterError::Refused { action, status, hint } => refused(message, &action, &status, hint),
            ClusterError::Unreachable { source, .. } => Self::new(ErrorKind::Unreachable, message)
                .with_hint(
                    Remedy::new(
                        "check that the cluster is up and that the kubeconfig's credentials are current",
                    )
                    .coded(HintCode::LogInToCluster),
                )
                .with_source(match *source {
                    // Its own words add nothing but the name of the variant.
                    kube::Error::Service(source) => source,
                    source => source.into(),
                })
                .retryable(),
            ClusterError::NoAnswer { .. } => Self::new(ErrorKind::Unreachable, message)
                .with_hint("check that the cluster is up and not overloaded")
                .retryable(),
            ClusterError::StreamCut { .. } => Self::new(ErrorKind::Unreachable, message)
                .with_hint(Remedy::build_again("the connection to the cluster broke; build again"))
                .retryable(),
            ClusterError::Pod(diagnosis) => diagnosis.into(),
            ClusterError::Several { first, others } => {
                let first = Self::from(*first);
                let message = format!("{}; {others}", first.message());
                let several = Self::new(first.kind(), message);
                match first.hint_data() {
                    Some(hint) => several.with_hint(hint),
                    None => several,
                }
            }
        }
    }
}

/// Maps a refusal of the API server. Both RBAC and admission answer 403, and only the words of the message tell them apart.
fn refused(message: String, action: &str, status: &kube::core::Status, hint: Option<Remedy>) -> Error {
    let refusal = Refusal::of(&status.message);
    match status.code {
        401 => Error::new(ErrorKind::Unauthorized, message).with_hint(
            Remedy::new("the kubeconfig's credentials are not accepted; log in to the cluster again")
                .coded(HintCode::LogInToCluster),
        ),
        403 if refusal == Refusal::Rights => Error::new(ErrorKind::PermissionDenied, message).with_hint(
            Hint::new(format!("ask for a role that may {action}")).with_code(HintCode::GrantRights),
        ),
        403 | 409 | 422 => {
            Error::new(ErrorKind::Rejected, message).with_hint(hint.unwrap_or_else(|| refusal.remedy()))
        }
        404 => Error::new(ErrorKind::NotFound, message),
        429 | 500.. => Error::new(ErrorKind::Unreachable, message).retryable(),
        _ => Error::new(ErrorKind::Unexpected, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, message: &str) -> Error {
        let status = kube::core::Status { code, message: message.to_owned(), ..Default::default() };
        ClusterError::of("create Pod a/b", kube::Error::Api(status.boxed())).into()
    }

    #[test]
    fn tells_rbac_quota_and_admission_apart() {
        let cases = [
            (
                403,
                r#"pods is forbidden: User "dev" cannot create resource "pods""#,
                ErrorKind::PermissionDenied,
            ),
            (403, r#"pods "b" is forbidden: exceeded quota: small"#, ErrorKind::Rejected),
            (403, r#"pods "b" is forbidden: violates PodSecurity "restricted:latest""#, ErrorKind::Rejected),
            (
                403,
                r#"admission webhook "rules" denied the request: `latest` cannot be used"#,
                ErrorKind::Rejected,
            ),
            (422, "spec.containers[0].image: Required value", ErrorKind::Rejected),
            (401, "Unauthorized", ErrorKind::Unauthorized),
            (404, r#"namespaces "a" not found"#, ErrorKind::NotFound),
            (503, "apiserver is shutting down", ErrorKind::Unreachable),
        ];
        for (code, message, kind) in cases {
            let error = refusal(code, message);
            assert_eq!(error.kind(), kind, "{message}");
            assert!(
                error.message().contains("create Pod a/b") && error.message().contains(message),
                "{error}"
            );
        }
    }

    #[test]
    fn a_refusal_names_an_option_only_if_whoever_asked_knows_it() {
        let quota = || {
            let message = "exceeded quota: small, requested: requests.storage=20Gi, used: requests.storage=0";
            let status = kube::core::Status { code: 403, message: message.to_owned(), ..Default::default() };
            ClusterError::of("create PersistentVolumeClaim a/b", kube::Error::Api(status.boxed()))
        };
        let hint = |error: ClusterError| Error::from(error).hint().map(str::to_owned);
        assert_eq!(hint(quota()).as_deref(), Some("raise the namespace's ResourceQuota"));
        let advised = quota()
            .advised(|refusal| (refusal == Refusal::Quota).then_some(Remedy::new("set `size` to less")));
        assert_eq!(hint(advised).as_deref(), Some("set `size` to less"));
    }
}
