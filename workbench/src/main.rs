//! What `cargo xtask` does with a cluster: the testbed, the demo, the benches, and what is written from what tests see.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks on its terminal")]

mod bench;
mod book;
mod conformance;
mod demo;
mod release;
mod schema;
mod test;
mod testbed;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Development tasks of the garden-build workspace that use its crates.
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
    /// Write the pages as a book with search, and check their links.
    Book,
    /// Write the table of what each build mode can do into docs/conformance.md, as the last run of the tests saw it.
    Conformance(Generated),
    /// Build a small application in a real cluster, and run it there.
    Demo(xtask::demo::Options),
    /// Write lists of what the promised crates have in public.
    PublicApi(Generated),
    /// Check whether the crates can be published, and say what to run for that.
    Release(release::Options),
    /// Write the JSON Schema of the project files.
    Schema(Generated),
    /// Compare what the promised crates have in public with the last release.
    Semver,
    /// Run all checks and tests, the end-to-end ones too.
    Test,
    /// A real one-node Kubernetes on this machine, for demos and end-to-end tests.
    #[command(subcommand)]
    Testbed(testbed::Command),
}

/// What to do with a file that is made of something else.
#[derive(Debug, Args)]
struct Generated {
    /// Fail if the file is not up to date, and write nothing.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Bench(command) => bench::run(&command),
        Task::Book => book::write(),
        Task::Conformance(Generated { check: true }) => conformance::check(),
        Task::Conformance(Generated { check: false }) => conformance::write(),
        Task::Demo(options) => demo::run(&options),
        Task::PublicApi(Generated { check: true }) => test::check_public_api(),
        Task::PublicApi(Generated { check: false }) => test::write_public_api(),
        Task::Release(options) => release::run(&options),
        Task::Schema(Generated { check: true }) => schema::check(),
        Task::Schema(Generated { check: false }) => schema::write(),
        Task::Semver => test::check_semver(),
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
