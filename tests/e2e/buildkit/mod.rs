//! The build mode cluster-buildkit.

mod building;
mod caching;
mod credentials;
mod failures;
mod inputs;
mod lifecycle;
mod listen;
mod tokens;
