use std::fmt;
use std::time::Duration;

use garden_build_core::Digest;
use http::StatusCode;

use crate::helper_answer::HelperProblem;
use crate::server::Server;
use crate::tls_problem::TlsProblem;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// As whom a registry was asked. Names where a credential came from, never what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Identity {
    /// No credentials are known for the repository.
    Anonymous,
    /// The entry `key` of `origin` (for example a Secret's namespace and name).
    Credentials {
        /// Where the credentials were read.
        origin: String,
        /// The registry key under which they stand there.
        key: String,
    },
    /// With what a credential helper has.
    HelperLogin {
        /// Where the helper is named.
        origin: String,
        /// What it was asked for.
        key: String,
        /// The helper, without `docker-credential-`.
        helper: String,
    },
    /// As nobody, because the credentials are left to a credential helper, which has none.
    Helper {
        /// Where the helper is named.
        origin: String,
        /// What it was asked for.
        key: String,
        /// The helper, without `docker-credential-`.
        helper: String,
        /// Why it has none.
        problem: HelperProblem,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("no credentials"),
            Self::Credentials { origin, key } => write!(f, "the credentials for `{key}` in {origin}"),
            Self::HelperLogin { origin, key, helper } => {
                write!(
                    f,
                    "the credentials for `{key}` of the credential helper `{helper}` that {origin} names"
                )
            }
            Self::Helper { origin, key, helper, problem } => write!(
                f,
                "no credentials, as {origin} leaves `{key}` to the credential helper `{helper}`, which {problem}"
            ),
        }
    }
}

/// Who refused whom what.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The registry: `host` or `host:port`.
    pub registry: String,
    /// The repository that was asked for.
    pub repository: String,
    /// As whom it was asked.
    pub identity: Identity,
    /// What the registry or its token server said, or what we know about it.
    pub reason: Option<String>,
}

impl Refusal {
    fn because(&self) -> String {
        self.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
    }
}

/// What went wrong between us and a registry.
///
/// No variant holds a credential, a token or a URL's query, in which tokens travel.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The name given is not that of a registry.
    #[non_exhaustive]
    #[error("`{registry}` is not the name of a registry: {reason}")]
    InvalidRegistry {
        /// The name, without what may be a password.
        registry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The certificate authorities given cannot be used.
    #[non_exhaustive]
    #[error("the registry's CA certificates cannot be used: {reason}")]
    InvalidCaCertificates {
        /// What is wrong with them.
        reason: String,
    },
    /// The image is one of another registry than the client's, whose credentials it must not get.
    #[non_exhaustive]
    #[error("`{reference}` is not an image of registry {registry}")]
    WrongRegistry {
        /// The client's registry.
        registry: String,
        /// The image.
        reference: String,
    },
    /// Something that is sent to the registry, or that it has sent, does not follow the protocol's grammar.
    #[error("{what} cannot be used: {reason}")]
    Malformed {
        /// What it is.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A server has other content than what its digest or its size promises.
    #[non_exhaustive]
    #[error("{server} has wrong content for {digest} of repository `{repository}`: {reason}")]
    WrongContent {
        /// The server.
        server: Server,
        /// The repository that was asked for.
        repository: String,
        /// The content that was asked for.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that an image consists of is not where the image is.
    #[non_exhaustive]
    #[error("registry {registry} has no {what} in repository `{repository}`, though the image needs it")]
    Missing {
        /// The registry.
        registry: String,
        /// The repository that was asked for.
        repository: String,
        /// What is missing.
        what: String,
    },
    /// The registry wants credentials, or better ones.
    #[error(
        "registry {} refuses access to repository `{}` with {}{}",
        .0.registry, .0.repository, .0.identity, .0.because()
    )]
    Unauthorized(Box<Refusal>),
    /// The registry knows who we are and does not allow it.
    #[error(
        "registry {} does not allow access to repository `{}` with {}{}",
        .0.registry, .0.repository, .0.identity, .0.because()
    )]
    Forbidden(Box<Refusal>),
    /// A server could not be reached, or broke off.
    #[non_exhaustive]
    #[error("{server} cannot be reached: {}", crate::cause::root_cause(.source.as_ref()))]
    Unreachable {
        /// The server.
        server: Server,
        /// What failed.
        source: BoxError,
    },
    /// A server took too long.
    #[non_exhaustive]
    #[error("{server} did not answer within {} s", .after.as_secs_f32())]
    Timeout {
        /// The server.
        server: Server,
        /// The time that the whole operation was allowed.
        after: Duration,
    },
    /// No TLS connection came about.
    #[non_exhaustive]
    #[error("no TLS connection to {server}: {problem}")]
    Tls {
        /// The server.
        server: Server,
        /// What is wrong.
        problem: TlsProblem,
        /// What failed.
        source: BoxError,
    },
    /// A server is overloaded or being restarted, and still was after some tries.
    #[non_exhaustive]
    #[error("{server} is busy: it answered {status}{}", and_wait(*.retry_after))]
    Busy {
        /// The server.
        server: Server,
        /// Its last answer.
        status: StatusCode,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The registry asks for authentication in a way that cannot work, or that would expose credentials.
    #[non_exhaustive]
    #[error("authentication at registry {registry} is not possible: {reason}")]
    Authentication {
        /// The registry.
        registry: String,
        /// What is wrong.
        reason: String,
    },
    /// A redirect that leads nowhere, in a circle, or from TLS to plain HTTP.
    #[non_exhaustive]
    #[error("a redirect by {server} cannot be followed: {reason}")]
    Redirect {
        /// The server.
        server: Server,
        /// What is wrong.
        reason: String,
    },
    /// An answer is larger than any that makes sense.
    #[non_exhaustive]
    #[error("{server} answered with more than {limit} bytes")]
    TooLarge {
        /// The server.
        server: Server,
        /// The largest answer that is read, in bytes.
        limit: usize,
    },
    /// An answer that the protocol does not foresee.
    #[non_exhaustive]
    #[error("{server} answered {status} for repository `{repository}`: {reason}")]
    Unexpected {
        /// The server.
        server: Server,
        /// The repository that was asked for.
        repository: String,
        /// The answer's status.
        status: StatusCode,
        /// What is unexpected, or what the server said.
        reason: String,
    },
}

garden_build_core::debug_with_causes!(RegistryError);

fn and_wait(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| format!(" and asks to wait {} s", wait.as_secs()))
}
