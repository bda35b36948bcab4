//! What builds leave behind: a `lease` says whose builder lives, and `sweep` removes what belongs to the dead.
//!
//! Why: docs/decisions/56-nothing-is-left-behind.md

mod lease;
mod sweep;

pub use lease::Lease;
pub use sweep::sweep;
