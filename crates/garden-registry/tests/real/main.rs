//! The client and real registries: Debian's docker-registry 2.8, and the CNCF's distribution 3.

mod clean_up;
mod conformance;
mod copy;
mod faults;
mod images;
mod network_proxies;
mod process;
mod proxy;
mod registry;
#[allow(dead_code, reason = "shared with the tests of the target `registry`, which use more of it")]
#[path = "../registry/support.rs"]
mod support;
mod token_server;
mod wire;
