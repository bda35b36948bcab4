use std::error::Error as StdError;

use bollard::errors::Error as BollardError;
use garden_build_core::{Error, ErrorKind, with_causes};
use garden_cluster::ClusterError;

use crate::ReachError;
use crate::http::NotDialled;

/// What went wrong between us and a Docker daemon.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DockerError {
    /// It is not clear which daemon is meant, or it cannot be reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The connection broke.
    #[error("the connection to the Docker daemon at {address} broke: {reason}")]
    Broken {
        /// Its address.
        address: String,
        /// What failed.
        reason: String,
    },
    /// The daemon takes connections and does not answer.
    #[error("the Docker daemon at {address} does not {action}: it has not answered for {seconds} s")]
    Silent {
        /// Its address.
        address: String,
        /// What it was to do.
        action: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The daemon refuses.
    #[error("the Docker daemon at {address} does not {action}: {message}")]
    Refused {
        /// Its address.
        address: String,
        /// What it was to do.
        action: String,
        /// The HTTP status of its answer, if it did not begin to do it.
        status: Option<u16>,
        /// What it said.
        message: String,
    },
    /// The daemon knows only older versions of Docker's API.
    #[error(
        "the Docker daemon at {address} (Docker {version}) speaks version {api} of Docker's API, and {oldest} is needed"
    )]
    TooOld {
        /// Its address.
        address: String,
        /// Docker's version.
        version: String,
        /// The newest version of the API that it knows.
        api: String,
        /// The oldest one that will do.
        oldest: String,
    },
    /// After it was given an image, the daemon has another one of that name.
    #[error("the Docker daemon at {address} took {image}, and then has {found} under that name")]
    WrongImage {
        /// Its address.
        address: String,
        /// The image.
        image: String,
        /// The identifier of the image that it has.
        found: String,
    },
    /// The daemon does not say what it has.
    #[error("the Docker daemon at {address} does not say {what}: {reason}")]
    Unclear {
        /// Its address.
        address: String,
        /// What it was asked.
        what: &'static str,
        /// What it did instead.
        reason: String,
    },
    /// The cluster that the daemon is in does not do what it takes to use it.
    #[error(transparent)]
    Cluster(Box<Error>),
}

garden_build_core::debug_with_causes!(DockerError);

impl DockerError {
    /// Explains what `source` means, which came of asking the daemon at `address` to do something.
    pub(crate) fn of(address: &str, action: &str, source: BollardError) -> Self {
        if let Some(reason) = NotDialled::reason(&source) {
            return reason;
        }
        let refused = |status, message| Self::Refused {
            address: address.to_owned(),
            action: action.to_owned(),
            status,
            message,
        };
        match source {
            BollardError::DockerResponseServerError { status_code, message } => {
                refused(Some(status_code), message)
            }
            BollardError::DockerStreamError { error } => refused(None, error),
            source => Self::broken(address, source),
        }
    }

    /// States that it was the cluster. What it says is kept as an [`Error`], since a cluster's own error is not for users of [`DockerDaemon`](crate::DockerDaemon) to
    /// look into.
    pub(crate) fn cluster(error: ClusterError) -> Self {
        Self::Cluster(Box::new(error.into()))
    }

    /// States that the connection to the daemon broke.
    pub(crate) fn broken(address: &str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        match ReachError::behind(&*source) {
            Some(error) => error.into(),
            None => Self::Broken { address: address.to_owned(), reason: with_causes(&*source) },
        }
    }
}

impl From<DockerError> for Error {
    fn from(error: DockerError) -> Self {
        let error = match error {
            DockerError::Reach(error) => return error.into(),
            DockerError::Cluster(error) => return *error,
            error => error,
        };
        let (kind, hint) = match &error {
            DockerError::Broken { .. } => {
                (ErrorKind::Unreachable, "look whether Docker was stopped, and its log")
            }
            DockerError::Silent { .. } => (ErrorKind::Unreachable, "restart the daemon if it stays so"),
            DockerError::TooOld { .. } => (ErrorKind::Unsupported, "update Docker to 20.10 or later"),
            DockerError::Refused { .. }
            | DockerError::WrongImage { .. }
            | DockerError::Unclear { .. }
            | DockerError::Cluster(_)
            | DockerError::Reach(_) => {
                (ErrorKind::Unexpected, "look into the daemon's log, and whether it has room")
            }
        };
        let may_pass = kind == ErrorKind::Unreachable;
        let report = Self::new(kind, error.to_string()).with_hint(hint).with_source(error);
        if may_pass { report.retryable() } else { report }
    }
}
