//! kaniko mode: one pod, one build.
//!
//! [`KanikoBackend`] streams the build context into the stdin of a kaniko executor, follows its log,
//! and removes the pod when the build ends, however it ends. The module `backend` tells that story,
//! `run` the pod's own. [`spec`] makes the objects, and what decides something is a function from
//! values to values: [`flags`] merges options, `progress` reads the executor's log, `failure` says what
//! its end means.

mod backend;
mod delivery;
mod failure;
pub mod flags;
mod progress;
mod run;
pub mod spec;

pub use backend::KanikoBackend;
