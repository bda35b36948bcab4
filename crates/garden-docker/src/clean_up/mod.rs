//! Freeing room in the Docker daemon of a cluster, which the registry's clean-up does not reach.
//!
//! A daemon keeps every image that it has built until somebody removes its name. A clean-up removes the names of the images that the
//! registry has no more: nobody can run those. What then belongs to no image is deleted.
//!
//! * `plan`: which names are forgotten (pure).
//! * `carry_out`: asks, forgets, deletes.
//! * `usage`: how much the daemon stores.

mod carry_out;
mod plan;
mod report;
mod usage;

pub use carry_out::{AskRegistry, DaemonCleanUp};
pub use plan::{DaemonRules, InRegistry, KeptName};
pub use report::{DaemonCleanUpReport, FailedUntag};
