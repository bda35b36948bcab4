//! The programs that tests compare with, besides Rust: which of them this machine lacks, and those in Go, which are
//! built from the modules below `testbed/tools`.
//!
//! The tests of every crate and `cargo xtask` share it. No published crate depends on it but for its tests.

mod cache;
mod go;
mod module;
mod needs;

pub use cache::{cache_directory, hex, short_hash};
pub use go::Go;
pub use module::{DISTRIBUTION, DOCKERFILE_ORACLE, DOCKERIGNORE_ORACLE, FILESYNC_RECEIVER, Module};
pub use needs::{Program, find_on_path, lacks};
