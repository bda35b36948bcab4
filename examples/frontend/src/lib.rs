//! A command in front of garden-build, made to be copied: take the directory, change the names, and leave out what you do not need.
//!
//! ```sh
//! cargo run -p garden-build-frontend -- --project examples/app build app=examples/app
//! cargo run -p garden-build-frontend -- --project examples/project build --all
//! cargo run -p garden-build-frontend -- --project examples/app --json status app=examples/app
//! ```
//!
//! | | |
//! |---|---|
//! | [`Arguments`] | what the command line says |
//! | `run.rs`, `verbs.rs` | do it with a `Builder` |
//! | `session.rs` | shows the events of what runs, and cancels it on Ctrl-C |
//! | `progress` | from events to what people or programs read |
//! | `failure.rs` | from errors to text and exit codes |
//!
//! On a terminal, progress is a block of lines that is drawn again and again, as `docker buildx` draws it. Elsewhere it is plain lines. Both go to the
//! standard error, and results go to the standard output. With `--json`, the standard output has one JSON object a line: events, results and errors.
//!
//! # Exit codes
//!
//! | code | |
//! |--:|---|
//! | 0 | all was done |
//! | 2 | the command line is wrong |
//! | 130 | Ctrl-C, SIGTERM or the end of the terminal cancelled it, or a second one ended it at once |
//! | 141 | whoever read the output has gone; what ran was cancelled |
//! | others | see [`ErrorKind::exit_code`](garden_build::ErrorKind::exit_code) |
//!
//! If several images are built, all are tried, and the first that fails decides.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "test code may fail loudly"))]

mod arguments;
mod failure;
mod output;
mod progress;
mod run;
mod session;
mod signals;
mod verbs;

pub use arguments::Arguments;
pub use output::Format;
pub use run::run;
pub use session::Session;
