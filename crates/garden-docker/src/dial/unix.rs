use std::fs;
use std::io;
use std::path::PathBuf;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Connection, Dial};
use crate::{DockerError, ReachError};

/// Connects to a socket of this machine.
#[derive(Debug)]
pub(crate) struct UnixDialer {
    pub(crate) daemon: String,
    pub(crate) shown: String,
    pub(crate) path: PathBuf,
    /// Sockets of other daemons, which the user may have meant if there is nothing to connect to.
    pub(crate) others: Vec<PathBuf>,
}

impl Dial for UnixDialer {
    fn address(&self) -> &str {
        &self.shown
    }

    fn is_local(&self) -> bool {
        true
    }

    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, DockerError>> {
        async move {
            match connect(&self.path).await {
                Ok(stream) => Ok(stream),
                Err(error) => Err(self.why(&error).into()),
            }
        }
        .boxed()
    }
}

#[cfg(unix)]
async fn connect(path: &std::path::Path) -> io::Result<Box<dyn Connection>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn connect(_: &std::path::Path) -> io::Result<Box<dyn Connection>> {
    let reason = "sockets in the file system are not spoken to from here; use tcp:// or ssh://";
    Err(io::Error::new(io::ErrorKind::Unsupported, reason))
}

impl UnixDialer {
    pub(super) fn why(&self, error: &io::Error) -> ReachError {
        let daemon = self.daemon.clone();
        let others = || self.others.iter().filter(|other| other.exists()).cloned().collect();
        match error.kind() {
            io::ErrorKind::NotFound => {
                ReachError::NoSocket { daemon, is_relative: self.path.is_relative(), others: others() }
            }
            io::ErrorKind::PermissionDenied => ReachError::NoPermission { daemon, others: others() },
            // Linux refuses what is not a socket as well.
            io::ErrorKind::ConnectionRefused if self.is_something_else() => ReachError::NotASocket { daemon },
            io::ErrorKind::ConnectionRefused => ReachError::Refused { daemon, others: others() },
            _ => ReachError::Network { daemon, reason: error.to_string() },
        }
    }

    #[cfg(unix)]
    fn is_something_else(&self) -> bool {
        use std::os::unix::fs::FileTypeExt as _;
        fs::metadata(&self.path).is_ok_and(|metadata| !metadata.file_type().is_socket())
    }

    #[cfg(not(unix))]
    fn is_something_else(&self) -> bool {
        fs::metadata(&self.path).is_ok()
    }
}
