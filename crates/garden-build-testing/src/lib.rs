//! What tests of programs that build in a cluster need, in the test's own process.
//!
//! [`kubernetes`] is an API server whose pods do what the test says. No test that uses it needs a cluster, a
//! network or time: the connections are in memory, and its clock is that of tokio, which a test can pause.

pub mod kubernetes;
