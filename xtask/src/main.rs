//! Development tasks of the workspace, run as `cargo xtask <task>`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks on its terminal")]

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use xtask::part::Part;
use xtask::prepare::prepare;
use xtask::{cargo, demo, fuzz};

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
    Bench(PassedOn),
    /// Write the pages as a book with search, and check their links.
    Book(PassedOn),
    /// Write the table of what each build mode can do into docs/conformance.md, as the last run of the tests saw it.
    Conformance(PassedOn),
    /// Build a small application in a real cluster, and run it there.
    Demo(demo::Options),
    /// Run the fuzz targets.
    Fuzz(fuzz::Options),
    /// Write lists of what the promised crates have in public.
    PublicApi(PassedOn),
    /// Check whether the crates can be published, and say what to run for that.
    Release(PassedOn),
    /// Write the JSON Schema of the project files.
    Schema(PassedOn),
    /// Compare what the promised crates have in public with the last release.
    Semver(PassedOn),
    /// Run all checks and tests, the end-to-end ones too.
    Test(PassedOn),
    /// A real one-node Kubernetes on this machine, for demos and end-to-end tests.
    Testbed(PassedOn),
}

/// Arguments that the workbench understands.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
struct PassedOn {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    match task {
        // The tests begin with what needs no testbed, so they do not wait for it to be built.
        // With arguments there is nothing to prepare: the workbench prints its help, or says that there are none.
        Task::Test(PassedOn { arguments }) if arguments.is_empty() && !has_cluster() => {
            return prepare(&Part::ALL, || {
                cargo::build_workbench()?;
                cargo::succeed(cargo::workbench()?.args(env::args_os().skip(1)), "`cargo xtask test`")
            });
        }
        Task::Fuzz(options) => return fuzz::run(options),
        Task::Demo(options) => {
            // Before what takes minutes.
            options.check(has_cluster())?;
            if has_cluster() {
                cargo::build_workbench()?;
            } else {
                prepare(options.parts(), cargo::build_workbench)?;
            }
        }
        Task::Testbed(PassedOn { arguments }) if arguments == &["up"] && !has_cluster() => {
            prepare(&Part::ALL, cargo::build_workbench)?;
        }
        _ => cargo::build_workbench()?,
    }
    // Takes this process's place, so that Ctrl-C and the exit status are the task's.
    let error = cargo::workbench()?.args(env::args_os().skip(1)).exec();
    Err(error).context("starting the workbench")
}

/// Whether the user has a cluster, for which nothing is to be prepared. The testbed's own may have to be repaired.
fn has_cluster() -> bool {
    let testbed =
        env::var("GARDEN_TESTBED_STATE").unwrap_or_else(|_| "/var/lib/garden-build-testbed".to_owned());
    env::var("KUBECONFIG")
        .is_ok_and(|kubeconfig| !kubeconfig.is_empty() && kubeconfig != format!("{testbed}/kubeconfig"))
}
