//! Ways to a daemon.
//!
//! Why: docs/decisions/48-a-way-to-a-docker-daemon-is-a-stream.md

mod explained;
mod ssh;
mod ssh_connection;
#[cfg(all(test, target_os = "linux"))]
mod ssh_tests;
mod tcp;
#[cfg(all(test, unix))]
mod tests;
mod tls;
#[cfg(all(test, unix))]
mod tls_tests;
mod unix;

use std::fmt::Debug;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use ssh::SshDialer;
pub(crate) use tcp::{PATIENCE, TcpDialer};
pub(crate) use tls::TlsDialer;
pub(crate) use unix::UnixDialer;

use crate::DockerError;

/// A connection to a daemon.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for S {}

/// Opens connections to one daemon.
pub(crate) trait Dial: Debug + Send + Sync + 'static {
    /// What the daemon is called in messages, such as `unix:///var/run/docker.sock`.
    fn address(&self) -> &str;

    /// Whether the daemon is on this machine, so that compressing what is sent to it only costs time.
    fn is_local(&self) -> bool;

    /// Opens a connection. Its other end speaks HTTP/1.1.
    ///
    /// Some of what is wrong with a way shows only when a connection is used. It is then behind the error of a read or
    /// a write, where [`ReachError::behind`](crate::ReachError::behind) finds it.
    ///
    /// # Errors
    /// If the daemon cannot be reached; the error says why in one line.
    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, DockerError>>;
}
