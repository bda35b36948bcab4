//! What tests of programs that build in a cluster need, in the test's own process.
//!
//! * [`kubernetes`] is an API server whose pods do what the test says. The connections to it are in memory.
//! * [`registry`] is an image registry on a port of this machine, with logins, TLS, and faults.
//! * [`backend`] is a build mode that builds nothing: a test says how its builds end, and they push to such a registry.
//!
//! No test that uses them needs a cluster, or a network besides this machine's own. Their clock is that of Tokio, which a test can pause.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authority;
pub mod backend;
mod gate;
pub mod kubernetes;
pub mod registry;

pub use authority::{Authority, IssuedCertificate};
pub use gate::Gate;
