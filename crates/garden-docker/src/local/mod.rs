//! local-docker: builds on the user's own daemon.

mod backend;
mod nodes;
mod supply;

pub use backend::LocalDockerBackend;
pub use nodes::NodeImages;

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
    pub(crate) fn daemon(&self) -> Result<DockerDaemon, DockerError> {
        match self {
            Self::Environment => DockerDaemon::from_environment(),
            Self::Daemon(daemon) => Ok(daemon.clone()),
        }
    }
}
