//! rustfmt, clippy and rustdoc, the latter two with warnings denied.

use anyhow::Result;
use xtask::cargo::{command, succeed};

use super::{public_api, public_types};

/// Of the workspace, and of the program that is apart.
pub(super) fn formatting() -> Result<()> {
    succeed(&mut command(["fmt", "--all", "--check"]), "formatting")?;
    let mut apart = command(["fmt", "--check", "--manifest-path"]);
    succeed(apart.arg(public_api::manifest_of_the_program()), "formatting")
}

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

/// Of examples as well, because then dependencies have the features that tests ask for, and are compiled already. Links between private items
/// are checked as well. Makes the JSON for [`super::public_types`], too.
pub(super) fn documentation() -> Result<()> {
    let document = || {
        let arguments =
            ["doc", "--workspace", "--no-deps", "--lib", "--bin", "workbench", "--example", "plan"];
        let rustdoc = concat!(env!("CARGO_MANIFEST_DIR"), "/src/test/rustdoc.sh");
        let mut document = command(arguments);
        succeed(document.env("RUSTDOC", rustdoc).env("RUSTDOCFLAGS", "-D warnings"), "cargo doc")
    };
    document()?;
    // Somebody else's `cargo doc` has made the pages.
    if !public_types::is_written() {
        succeed(&mut command(["clean", "--doc"]), "cargo clean --doc")?;
        document()?;
    }
    Ok(())
}
