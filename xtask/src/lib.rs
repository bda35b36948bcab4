//! What a machine needs before anything of the workspace runs on it, and how it gets that: Debian packages, Go programs,
//! and the workspace's own programs, side by side.
//!
//! `cargo xtask` is this crate; the crate `workbench` has what needs a cluster, and takes a while to compile.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks on its terminal")]

pub mod cargo;
pub mod demo;
pub mod fuzz;
pub mod machine;
pub mod part;
pub mod prepare;
pub mod programs;
pub mod progress;
pub mod tools;
