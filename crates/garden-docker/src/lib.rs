//! Docker daemons, spoken to by their API: no `docker` command is needed.
//!
//! * [`DockerDaemon`] is found as the `docker` command finds it, or named.
//! * [`DockerDaemon::load`] gives it an image from a registry that it may not reach itself.

mod daemon;
#[expect(dead_code, reason = "until daemons are dialled here")]
mod dial;
mod error;
mod load;

pub use daemon::DockerDaemon;
pub use error::DockerError;
