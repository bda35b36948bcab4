//! End to end: real cluster, real kaniko, real registries.
//!
//! Run by `cargo xtask test`, which brings a cluster; or against any cluster with
//! `cargo test --test e2e` and the variables that `cargo xtask testbed env` prints. Assertions
//! look at the cluster and at the registry, not at what the library says of them.

// Test code may fail loudly.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod building;
mod buildkit;
mod clean_up_registry;
mod cleanup;
mod cluster_docker;
mod conformance;
mod context;
mod context_service;
mod credential_helpers;
mod credentials;
mod failures;
mod in_cluster_registry;
mod local_docker;
mod permissions;
mod project;
mod proxy;
mod pruning;
mod publishing;
mod registry;
mod site;
