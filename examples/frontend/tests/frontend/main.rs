//! The front end as a program: what it prints on a terminal, in a pipe and as JSON, how it ends, and what signals do. Without a cluster, by a backend of its
//! own. `cargo xtask test` also runs it against the testbed.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

mod backend;
mod binary;
mod piped;
mod program;
mod screens;
mod terminal;
