//! The build mode cluster-buildkit.

mod building;
