//! The build mode cluster-buildkit.

mod building;
mod caching;
mod credentials;
mod inputs;
mod daemon;
mod failures;
mod lifecycle;
