use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use garden_registry::TlsProblem;

use crate::DockerError;

/// Why a Docker daemon is not reached: what names it is wrong, or it does not answer there.
///
/// `daemon` is in all variants the daemon's address and what it was taken from, such as
/// `tcp://builder:2376 (DOCKER_HOST)`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// An address is none, or none that is understood here.
    #[error("{setting} is not the address of a Docker daemon: {reason}")]
    BadAddress {
        /// The address and what it was taken from. It has no password in it.
        setting: String,
        /// What is wrong with it.
        reason: String,
        /// What to write instead.
        remedy: String,
    },
    /// Docker's configuration cannot be used, so it is not known which daemon is meant, and which proxies RUN steps use.
    #[error("{}, which may name a Docker context and proxies, cannot be used: {reason}", .file.display())]
    BadConfig {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Docker context is not there.
    #[error(
        "the Docker context `{context}`, named by {named_by}, does not exist: there is no {}{}",
        .file.display(), there_are(.others)
    )]
    NoContext {
        /// Its name.
        context: String,
        /// The variable or file that names it.
        named_by: String,
        /// Where it would be.
        file: PathBuf,
        /// Those that there are, in the order of their names: some of them, if there are many.
        others: Vec<String>,
    },
    /// A Docker context cannot be used.
    #[error("the Docker context `{context}` in {} cannot be used: {reason}", .file.display())]
    BadContext {
        /// Its name.
        context: String,
        /// Where it is.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or key for the connection to a daemon cannot be used.
    #[error("TLS to the Docker daemon, which {asked_by} asks for, is not possible: {}: {reason}", .file.display())]
    BadCertificate {
        /// The file.
        file: PathBuf,
        /// What asks for TLS.
        asked_by: AsksForTls,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS is asked for, but it is not known where the certificates are.
    #[error("{asked_by} asks for TLS, but where the certificates are is not known")]
    NoCertificates {
        /// What asks for TLS.
        asked_by: AsksForTls,
    },
    /// There is no socket.
    #[error("the Docker daemon at {daemon} cannot be reached: there is no such socket, so it does not run")]
    NoSocket {
        /// The daemon.
        daemon: String,
        /// Whether the socket's path is relative, so that it was looked for in the working directory.
        is_relative: bool,
        /// Sockets of other daemons that are there.
        others: Vec<PathBuf>,
    },
    /// There is something else than a socket.
    #[error("the Docker daemon at {daemon} cannot be reached: that is not a socket")]
    NotASocket {
        /// The daemon.
        daemon: String,
    },
    /// This user may not use the socket.
    #[error("the Docker daemon at {daemon} cannot be used: this user may not open the socket")]
    NoPermission {
        /// The daemon.
        daemon: String,
        /// Sockets of other daemons that are there.
        others: Vec<PathBuf>,
    },
    /// Nobody listens.
    #[error("the Docker daemon at {daemon} cannot be reached: nobody listens there (connection refused)")]
    Refused {
        /// The daemon.
        daemon: String,
        /// Sockets of other daemons that are there.
        others: Vec<PathBuf>,
    },
    /// The host's name has no address.
    #[error("the Docker daemon at {daemon} cannot be reached: the name {host} cannot be resolved ({reason})")]
    UnknownHost {
        /// The daemon.
        daemon: String,
        /// The name.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// Nothing came back in time.
    #[error("the Docker daemon at {daemon} cannot be reached: {waited_for} did not come within {seconds} s")]
    TimedOut {
        /// The daemon.
        daemon: String,
        /// What was waited for.
        waited_for: String,
        /// How long.
        seconds: u64,
    },
    /// A proxy stands before it, and was not reached or makes no connection to it.
    #[error("the Docker daemon at {daemon} cannot be reached: {proxy} makes no connection to it ({reason})")]
    Proxy {
        /// The daemon.
        daemon: String,
        /// The proxy, without its password, and what names it.
        proxy: String,
        /// Why.
        reason: String,
    },
    /// The connection failed for another reason.
    #[error("the Docker daemon at {daemon} cannot be reached: {reason}")]
    Network {
        /// The daemon.
        daemon: String,
        /// What the system says.
        reason: String,
    },
    /// Encryption failed: one side does not trust the other, or does not speak TLS.
    #[error("no TLS connection to the Docker daemon at {daemon}: {problem}")]
    Tls {
        /// The daemon.
        daemon: String,
        /// What is wrong.
        problem: TlsProblem,
    },
    /// The daemon speaks TLS, and was spoken to without.
    #[error("the Docker daemon at {daemon} speaks TLS, but nothing asks for TLS")]
    SpeaksTls {
        /// The daemon.
        daemon: String,
    },
    /// There is no program `ssh`.
    #[error("the Docker daemon at {daemon} cannot be reached: there is no program `ssh` in the PATH")]
    NoSsh {
        /// The daemon.
        daemon: String,
    },
    /// The program `ssh` does not get there, or cannot start `docker system dial-stdio` there.
    #[error("the Docker daemon at {daemon} cannot be reached: {reason}")]
    Ssh {
        /// The daemon.
        daemon: String,
        /// How `ssh` ended, and what it said last.
        reason: String,
        /// Whom to log in to, as `ssh` takes it.
        destination: String,
    },
}

garden_build_core::debug_with_causes!(ReachError);

/// Names the contexts that there are, which a file of somebody else may have named.
fn there_are(contexts: &[String]) -> String {
    let names: Vec<_> = contexts.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
    if names.is_empty() { String::new() } else { format!("; there are: {}", names.join(", ")) }
}

/// What asks for TLS to a daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AsksForTls {
    /// A variable: `DOCKER_TLS_VERIFY` or `DOCKER_TLS`.
    Variable(&'static str),
    /// The daemon's address, which begins with `https://`.
    Address,
    /// The Docker context of this name.
    Context(String),
}

impl fmt::Display for AsksForTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Address => f.write_str("the daemon's address (https://)"),
            Self::Context(name) => write!(f, "the Docker context `{name}`"),
        }
    }
}

impl ReachError {
    /// Finds why a daemon is not reached behind what a client made of it: some things show only when a connection is
    /// used, and then stand in the error of a read or a write.
    pub(crate) fn behind(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = Self::itself(error) {
                return Some(found);
            }
            // An `io::Error` has the source of what it is made of, but not that itself, for its source.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
        }
        None
    }

    fn itself(error: &(dyn StdError + 'static)) -> Option<Self> {
        match error.downcast_ref::<DockerError>() {
            Some(DockerError::Reach(error)) => Some(error.clone()),
            _ => error.downcast_ref::<Self>().cloned(),
        }
    }
}
