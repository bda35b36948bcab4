//! What tests of the facade share.

pub(crate) mod registry;
