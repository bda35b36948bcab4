use bollard::errors::Error as BollardError;
use garden_build_core::{Error, ErrorKind, with_causes};
use garden_registry::SaveError;

use crate::ReachError;

/// What went wrong between us and a Docker daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerError {
    /// It is not clear which daemon is meant, or it cannot be reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The address is none, or what it takes to reach it is not there.
    #[error("the Docker daemon at {address} cannot be used: {}", with_causes(.source))]
    InvalidAddress {
        /// The address.
        address: String,
        /// What is wrong with it.
        source: BollardError,
    },
    /// The daemon does not answer.
    #[error("the Docker daemon at {address} cannot be reached: {}", with_causes(.source))]
    Unreachable {
        /// Its address.
        address: String,
        /// What failed.
        source: BollardError,
    },
    /// The daemon refuses.
    #[error("the Docker daemon at {address} does not {action}: {}", with_causes(.source))]
    Refused {
        /// Its address.
        address: String,
        /// What it was to do.
        action: String,
        /// What it said.
        source: BollardError,
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
    /// The image could not be read.
    #[error(transparent)]
    Image(Box<SaveError>),
}

impl DockerError {
    pub(crate) fn of(address: &str, action: &str, source: BollardError) -> Self {
        let address = address.to_owned();
        match source {
            BollardError::DockerResponseServerError { .. } | BollardError::DockerStreamError { .. } => {
                Self::Refused { address, action: action.to_owned(), source }
            }
            source => Self::Unreachable { address, source },
        }
    }
}

impl From<SaveError> for DockerError {
    fn from(error: SaveError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<DockerError> for Error {
    fn from(error: DockerError) -> Self {
        let error = match error {
            DockerError::Image(error) => return (*error).into(),
            DockerError::Reach(error) => return error.into(),
            error => error,
        };
        let (kind, hint) = match &error {
            DockerError::InvalidAddress { .. } => {
                (ErrorKind::Config, "set DOCKER_HOST to an address like unix:///var/run/docker.sock")
            }
            DockerError::Unreachable { .. } => (
                ErrorKind::Unreachable,
                "start Docker, or set DOCKER_HOST to the address of a daemon that you may use",
            ),
            DockerError::Refused { .. }
            | DockerError::WrongImage { .. }
            | DockerError::Image(_)
            | DockerError::Reach(_) => {
                (ErrorKind::Unexpected, "look into the daemon's log, and whether it has room")
            }
        };
        Self::new(kind, error.to_string()).with_hint(hint).with_source(error)
    }
}
