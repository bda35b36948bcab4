//! Which images a registry can do without: pure decisions, from what the registry holds and what is in use to what
//! is deleted.
//!
//! [`Inventory`] is what the registry holds, [`ImagesInUse`] what something may still run, [`CleanUpRules`] what
//! is kept besides, and [`CleanUpPlan`] the decision, with a reason for everything that is kept.
//!
//! What a clean-up must never do is to delete what somebody can still name. So whatever is not understood is
//! kept, and an image is matched in every way in which it may be named.

mod bytes;
mod images_in_use;
mod inventory;
mod links;
mod order;
mod plan;
mod reasons;
mod rules;
mod table;
#[cfg(test)]
mod tests;

pub use images_in_use::ImagesInUse;
pub use inventory::{Inventory, References, Repository, StoredManifest, StoredTag};
pub use plan::{CleanUpPlan, Deletion, Kept, UnreadableContent};
pub use reasons::KeptBecause;
pub use rules::CleanUpRules;
