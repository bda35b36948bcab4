//! What tests of programs that build in a cluster need.
//!
//! * [`kubernetes`] is an API server whose pods do what the test says. The connections to it are in memory.
//! * [`buildkit`] is a `BuildKit` daemon whose builds do what the test says. It can answer in the pods of that API server.
//! * [`registry`] is an image registry on a port of this machine, with logins, TLS, and faults.
//! * [`backend`] is a build mode that builds nothing: a test says how its builds end, and they push to such a registry.
//! * [`cluster`] is for tests that do need a cluster: a namespace for each of them, which is removed.
//!
//! No test that uses the others needs a cluster, or a network besides this machine's own. Their clock is that of Tokio, which a test can pause.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authority;
pub mod backend;
pub mod buildkit;
pub mod cluster;
mod gate;
pub mod kubernetes;
pub mod registry;
mod script;
mod turns;

pub use authority::{Authority, IssuedCertificate};
pub use gate::Gate;
