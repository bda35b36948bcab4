//! Builds with kaniko in a cluster that is in this process: what is created, sent and read, and that nothing is left.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

mod endings;
mod forged_endings;
mod idle;
mod leftovers;
mod network_policy;
mod proxies;
mod pull_secrets;
mod same_image;
mod service;
mod site;
