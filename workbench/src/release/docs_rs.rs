//! The pages as docs.rs makes them.

use anyhow::Result;
use xtask::cargo::{command, succeed};

use super::root;
use super::workspace::Workspace;

/// Makes the pages of every published crate as docs.rs does: with all features, each shown where it is needed. A warning is an error.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let rustdoc = concat!(env!("CARGO_MANIFEST_DIR"), "/src/release/rustdoc.sh");
    let mut document = command(["doc", "--workspace", "--no-deps", "--lib", "--all-features", "--quiet"]);
    document.args(workspace.private.iter().flat_map(|name| ["--exclude", name])).current_dir(root());
    document.env("RUSTDOC", rustdoc).env("RUSTDOCFLAGS", "--cfg docsrs -D warnings");
    succeed(&mut document, "cargo doc")
}
