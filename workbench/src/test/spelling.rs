//! Spelling mistakes, in all that git knows. `_typos.toml` says which words are none.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use xtask::cargo::succeed;
use xtask::tools::TYPOS;

pub(super) fn check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
    let mut typos = Command::new(TYPOS.path()?);
    // Hidden files are ours as well, and git's own directory is not.
    typos.args(["--hidden", "--exclude", ".git"]).current_dir(root);
    succeed(&mut typos, "the spelling check (mend the word, or add it to _typos.toml with the reason)")
}
