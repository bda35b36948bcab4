//! Runs cargo, and the program that it makes of the crate `workbench`.
//!
//! Cargo compiles a dependency with the features that the packages of one command ask for, those of tests included if the
//! command makes tests or examples. So that no crate is compiled twice, every command selects all packages and makes
//! something that counts as a test.
//!
//! Why: docs/decisions/80-each-crate-is-compiled-once.md

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Returns a command that runs cargo.
pub fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Compiles the crate `workbench`, and an example for the features' sake.
const BUILD_WORKBENCH: [&str; 6] = ["build", "--workspace", "--bin", "workbench", "--example", "plan"];

/// Compiles the crate `workbench`.
///
/// # Errors
///
/// Fails if it does not compile.
pub fn build_workbench() -> Result<()> {
    succeed(&mut command(BUILD_WORKBENCH), "compiling the workbench")
}

/// Returns a command that runs the workbench, which cargo has put beside this program.
///
/// # Errors
///
/// Fails if it is unknown where this program is.
pub fn workbench() -> Result<Command> {
    Ok(Command::new(env::current_exe().context("looking for the workbench")?.with_file_name("workbench")))
}

/// Runs a command.
///
/// # Errors
///
/// Fails if the command does.
pub fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("running {what}"))?;
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}
