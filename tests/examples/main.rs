//! The examples that are programs of their own kind: a service and a test harness. Each is included as it is, and does its work
//! without a cluster. `cargo xtask test` also runs them as programs, against the testbed.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

mod harness;
mod service;
mod site;
