//! The build mode kaniko.

mod building;
pub(crate) mod context_service;
mod credentials;
mod delivery;
mod failures;
mod idle;
mod permissions;
mod sweep;
