//! local-docker: builds on a Docker daemon, pushed from there.

mod building;
mod environment;
mod failures;
mod nodes;
mod proxies;
