//! What the promised crates have in public, compared with the last release: a change that breaks users needs another version.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::cargo::succeed;
use xtask::tools::SEMVER_CHECKS;

use super::{output_of, public_types};

/// Compares the promised crates with the last tag `vX.Y.Z` that this commit descends from. It takes minutes, as both versions are compiled
/// and documented anew.
pub(crate) fn check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
    let mut shallow = Command::new("git");
    shallow.args(["rev-parse", "--is-shallow-repository"]).current_dir(root);
    if output_of(&mut shallow, "git rev-parse")?.trim() == "true" {
        bail!("this clone is shallow, so its releases are not known: run `git fetch --unshallow --tags`");
    }
    let mut merged = Command::new("git");
    merged.args(["tag", "--merged", "HEAD", "--sort=-version:refname"]).current_dir(root);
    let tags = output_of(&mut merged, "git tag")?;
    let Some(tag) = last_release(&tags) else {
        println!("no release to compare with: no tag is called vX.Y.Z");
        return Ok(());
    };
    println!("comparing with {tag}");
    let mut checks = Command::new(SEMVER_CHECKS.path()?);
    checks.args(["semver-checks", "--baseline-rev", tag, "--all-features"]).current_dir(root);
    for package in public_types::promised_packages() {
        checks.args(["--package", &package]);
    }
    succeed(&mut checks, &format!("the comparison with {tag}"))
}

/// Returns the first of `tags` that names a version, and not a preliminary one.
fn last_release(tags: &str) -> Option<&str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    tags.lines().find(|tag| {
        let parts: Vec<_> = tag.strip_prefix('v').unwrap_or_default().split('.').collect();
        parts.len() == 3 && parts.into_iter().all(is_number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_three_numbers() {
        assert_eq!(last_release("v2\nlatest\nv1.3.0-rc.1\nv1.2.10\nv1.2.9\n"), Some("v1.2.10"));
        assert_eq!(last_release("v1..2\n1.2.3\nva.b.c\n"), None);
    }
}
