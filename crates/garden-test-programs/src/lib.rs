//! What tests need of a machine besides Rust: programs to compare with, of which it may lack some, and of which those in Go
//! are built from the modules below `testbed/tools`; a clock that does not run on while others work; and the seeds of the
//! fuzz targets.
//!
//! The tests of every crate and `cargo xtask` share it. No published crate depends on it but for its tests.

mod cache;
mod clock;
mod go;
mod module;
mod needs;
mod network_proxy;
mod seeds;

pub use cache::{cache_directory, hex, short_hash};
pub use clock::cpu_time;
pub use go::Go;
pub use module::{
    DISTRIBUTION, DOCKERFILE_ORACLE, DOCKERIGNORE_ORACLE, FILESYNC_RECEIVER, Module, OTHER_DOCKERFILE_ORACLES,
};
pub use needs::{Program, find_on_path, lacks};
pub use network_proxy::NetworkProxy;
pub use seeds::run_seeds;
