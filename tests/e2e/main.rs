//! End to end: real cluster, real kaniko, real registries.
//!
//! Run by `cargo xtask test`, which brings a cluster; or against any cluster with
//! `cargo test --test e2e` and the variables that `cargo xtask testbed env` prints. Assertions
//! look at the cluster and at the registry, not at what the library says of them.

// Test code may fail loudly.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod attacks;
mod buildkit;
mod clean_up_registry;
mod cluster_docker;
mod conformance;
mod credential_helpers;
mod in_cluster_registry;
mod kaniko;
mod local_docker;
mod odd_registries;
mod private_builders;
mod project_file;
mod proxies;
mod pruning;
mod publishing;
mod sidecars;
mod site;
mod traces;
