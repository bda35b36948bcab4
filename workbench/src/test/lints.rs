//! Clippy and rustdoc, with warnings denied.

use anyhow::Result;
use xtask::cargo::{command, succeed};

/// With all features, as everything is tested; [`super::features`] checks the other choices.
pub(super) fn clippy() -> Result<()> {
    let lint = |targets: &[&'static str]| {
        let arguments = ["clippy", "--workspace"].iter().chain(targets).chain(&["--", "-D", "warnings"]);
        succeed(&mut command(arguments.copied()), "cargo clippy")
    };
    lint(&["--all-targets"])?;
    // Cargo leaves targets that need a cluster out of --all-targets.
    lint(&["--test", "e2e"])
}

/// Of examples as well, because then dependencies have the features that tests ask for, and are compiled already.
pub(super) fn documentation() -> Result<()> {
    let arguments = ["doc", "--workspace", "--no-deps", "--lib", "--bin", "workbench", "--example", "plan"];
    succeed(command(arguments).env("RUSTDOCFLAGS", "-D warnings"), "cargo doc")
}
