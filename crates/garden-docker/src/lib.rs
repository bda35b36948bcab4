//! Internal: Docker daemons, spoken to by their API: no `docker` command is needed. The facade `garden_build::docker` has what is promised of it.
//!
//! * [`DockerDaemon`] is found as the `docker` command finds it, or named; `endpoint` is which, and `dial` the way to it.
//! * `build` is a build on a daemon, with the `BuildKit` in it or the classic builder, and the push.
//! * [`LocalDockerBackend`] builds on the daemon of the user.
//! * [`ClusterDaemon`] is the one in a cluster that all projects share: installed once, reached through the API server.
//!   [`ClusterDockerBackend`] builds on it, and [`DaemonCleanUp`] frees room in it.
//! * [`DockerDaemon::load`] gives a daemon an image from a registry that it may not reach itself.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod build;
mod clean_up;
mod cluster;
mod daemon;
mod dial;
mod endpoint;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod load;
mod local;
mod reach_error;
mod reach_report;

pub use clean_up::{
    AskRegistry, DaemonCleanUp, DaemonCleanUpReport, DaemonRules, FailedUntag, InRegistry, KeptName,
};
pub use cluster::{ClusterDaemon, ClusterDaemonSettings, ClusterDockerBackend};
pub use daemon::DockerDaemon;
pub use error::DockerError;
pub use load::LoadError;
pub use local::{DaemonChoice, LocalDockerBackend, NodeImages};
pub use reach_error::{AsksForTls, ReachError};
