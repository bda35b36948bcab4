//! local-docker: builds on a Docker daemon, pushed from there.

mod building;
mod daemon;
mod environment;
mod failures;
mod nodes;

pub(crate) use daemon::Daemon;
