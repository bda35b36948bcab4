//! Which images a registry can do without: pure decisions, from what the registry holds and what is in use to what
//! is deleted, and what it takes to know the one and to do the other.
//!
//! [`StorageListing`] is what lies in the registry's storage, from which [`KnownManifests`] make the [`Inventory`].
//! [`ImagesInUse`] is what something may still run, found by [`StoredNames`] in whatever text, [`CleanUpRules`] say what is kept besides, and
//! [`CleanUpPlan`] is the decision, with a reason for everything that is kept. [`CleanUpPlan::deletion_list`] is what a
//! registry learns of it.
//!
//! What a clean-up must never do is to delete what somebody can still name. So whatever is not understood is
//! kept, and an image is matched in every way in which it may be named.
//!
//! Why: docs/decisions/77-clean-up-looks-at-the-storage.md

mod bytes;
mod deletion;
mod deletion_list;
mod images_in_use;
mod inventory;
mod links;
mod order;
mod plan;
mod read;
mod reasons;
mod rules;
mod storage;
mod stored_names;
mod table;
#[cfg(test)]
mod tests;

pub use deletion::Deletion;
pub use deletion_list::{DeletionList, Deletions, FailedDeletion};
pub use images_in_use::ImagesInUse;
pub use inventory::{Inventory, References, Repository, StoredManifest, StoredTag};
pub use plan::{CleanUpPlan, Kept, UnreadableContent};
pub use read::KnownManifests;
pub use reasons::KeptBecause;
pub use rules::CleanUpRules;
pub use storage::{ListedRepository, StorageListing, StorageListingError};
pub use stored_names::StoredNames;
