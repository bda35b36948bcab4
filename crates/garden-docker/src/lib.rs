//! Docker daemons, spoken to by their API: no `docker` command is needed.
//!
//! * [`DockerDaemon`] is found as the `docker` command finds it, or named.
//! * [`DockerDaemon::load`] gives it an image from a registry that it may not reach itself.

mod daemon;
#[allow(dead_code, reason = "until daemons are dialled here")]
mod dial;
#[allow(dead_code, reason = "until daemons are dialled here")]
mod endpoint;
mod error;
mod load;
mod reach_error;
mod reach_report;
mod tls_problem;

pub use daemon::DockerDaemon;
pub use error::DockerError;
pub use reach_error::ReachError;
pub use tls_problem::TlsProblem;
