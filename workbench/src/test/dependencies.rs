//! What the workspace may depend on.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::cargo::{command, succeed};
use xtask::tools::CARGO_DENY;

use super::output_of;

/// What the core crate must never link, so that it stays quick to build and free of networks.
const NOT_IN_CORE: [&str; 4] = ["kube", "hyper", "tonic", "reqwest"];

pub(super) fn check() -> Result<()> {
    core()?;
    compiled_once()?;
    deny(&["bans", "licenses", "sources"])
}

/// Runs `cargo deny`, which has its rules in `deny.toml`. The checks named here need no network but for packages that have not been
/// downloaded yet.
pub(crate) fn deny(checks: &[&str]) -> Result<()> {
    let mut deny = Command::new(CARGO_DENY.path()?);
    // An exception that nothing needs any more is a warning.
    deny.args(["--locked", "--workspace", "check", "-D", "warnings"]).args(checks);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
    succeed(deny.current_dir(root), "cargo deny, whose rules are in deny.toml,")
}

fn core() -> Result<()> {
    let core = tree(&["--package", "garden-build-core", "--edges", "normal", "--format", "{lib}"])?;
    for forbidden in NOT_IN_CORE {
        if core.contains(forbidden) {
            bail!("garden-build-core must not link {forbidden}: see ARCHITECTURE.md");
        }
    }
    Ok(())
}

/// `cargo xtask` is compiled by itself, before everything else. Its dependencies have to have the features that they have
/// in the whole graph, or they are compiled twice.
fn compiled_once() -> Result<()> {
    const FORMAT: [&str; 2] = ["--format", "{p} {f}"];
    let alone = tree(&[&["--package", "xtask", "--edges", "normal,build"][..], &FORMAT].concat())?;
    let whole = tree(&[&["--workspace", "--edges", "normal,build,dev"][..], &FORMAT].concat())?;
    let other: Vec<_> = alone.difference(&whole).map(String::as_str).collect();
    if !other.is_empty() {
        bail!(
            "xtask alone compiles these with other features than the whole workspace does; give xtask/Cargo.toml the \
             same ones:\n  {}",
            other.join("\n  ")
        );
    }
    Ok(())
}

/// Returns the lines of `cargo tree`.
fn tree(arguments: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = command(["tree", "--prefix", "none", "--no-dedupe"]);
    let lines = output_of(command.args(arguments), "cargo tree")?;
    // What follows in parentheses is where the package lies, or that it is a macro.
    Ok(lines.lines().map(|line| line.replace(" (proc-macro)", "").trim().to_owned()).collect())
}
