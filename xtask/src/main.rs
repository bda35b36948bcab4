//! Development tasks of the workspace, run as `cargo xtask <task>`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks on its terminal")]

mod bench;
mod conformance;
mod demo;
mod schema;
mod test;
mod testbed;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks of the garden-build workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure ours and a peer side by side, in a real cluster.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Write the README's table of what each build mode can do, as the last run of the tests saw it.
    Conformance,
    /// Build a small application in a real cluster, and run it there.
    Demo(demo::Options),
    /// Write the JSON Schema of the project files.
    Schema,
    /// Run all checks and tests, the end-to-end ones too.
    Test,
    /// A real one-node Kubernetes on this machine, for demos and end-to-end tests.
    #[command(subcommand)]
    Testbed(testbed::Command),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Bench(command) => bench::run(&command),
        Task::Conformance => conformance::write(),
        Task::Demo(options) => demo::run(&options),
        Task::Schema => schema::write(),
        Task::Test => test::run(),
        Task::Testbed(command) => testbed::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
