//! Ways to a daemon.

use std::fmt::Debug;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::DockerError;

/// A connection to a daemon.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for S {}

/// Opens connections to one daemon.
pub(crate) trait Dial: Debug + Send + Sync + 'static {
    /// What the daemon is called in messages, such as `unix:///var/run/docker.sock`.
    fn address(&self) -> &str;

    /// Opens a connection. Its other end speaks HTTP/1.1.
    ///
    /// # Errors
    /// If the daemon cannot be reached; the error says why in one line.
    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, DockerError>>;
}
