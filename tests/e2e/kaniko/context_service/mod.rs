//! kaniko's context service: what is sent, who gets it, and what happens when a part of it is lost.

mod building;
pub(crate) mod failures;
mod killed;
