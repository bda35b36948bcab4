//! local-docker: builds on the user's own daemon.

mod backend;
mod nodes;
mod supply;

pub use backend::LocalDockerBackend;
pub use nodes::NodeImages;

use crate::daemon::buildkit_is_off;
use crate::{DockerDaemon, DockerError};

/// Which daemon is used.
#[derive(Clone, Debug, Default)]
pub enum DaemonChoice {
    /// The one that the `docker` command uses; looked up each time.
    #[default]
    Environment,
    /// This one.
    Daemon(DockerDaemon),
}

impl DaemonChoice {
    /// Whether its classic builder builds in any case.
    pub(crate) fn is_classic(&self) -> bool {
        match self {
            Self::Environment => buildkit_is_off(),
            Self::Daemon(daemon) => daemon.is_classic(),
        }
    }

    pub(crate) fn daemon(&self) -> Result<DockerDaemon, DockerError> {
        match self {
            Self::Environment => DockerDaemon::from_environment(),
            Self::Daemon(daemon) => Ok(daemon.clone()),
        }
    }
}
