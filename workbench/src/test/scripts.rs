//! What is not Rust: the scripts that run in pods, and the Go programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::cargo::succeed;
use xtask::machine;

use super::output_of;

pub(super) fn check() -> Result<()> {
    shellcheck()?;
    go_vet()
}

/// Every script of the repository. Those without a first line that names a shell say in a comment for which they are.
fn shellcheck() -> Result<()> {
    if !machine::on_path("shellcheck") {
        machine::install(&["shellcheck"])?;
    }
    let scripts = files(&["*.sh", ".ci/run"])?;
    if scripts.is_empty() {
        bail!("git lists no scripts");
    }
    println!("shellcheck: {} scripts", scripts.len());
    succeed(Command::new("shellcheck").args(scripts), "shellcheck")
}

/// The modules that have programs of ours in them.
fn go_vet() -> Result<()> {
    let mut modules: Vec<_> = files(&["testbed/tools/**.go"])?
        .iter()
        .filter_map(|file| file.ancestors().find(|directory| directory.join("go.mod").exists()))
        .map(Path::to_owned)
        .collect();
    modules.dedup();
    for module in modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("go vet: {name}");
        let mut vet = Command::new("go");
        // As the programs are built, so that what they share is compiled once.
        vet.args(["vet", "-trimpath", "./..."]).current_dir(&module).env("CGO_ENABLED", "0");
        succeed(&mut vet, &format!("go vet in {}", module.display()))?;
    }
    Ok(())
}

/// Files that git knows, and those that it will.
pub(crate) fn files(patterns: &[&str]) -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--"])
        .args(patterns);
    let listed = output_of(list.current_dir(root), "git ls-files")?;
    // One that was removed is listed until that is committed.
    let listed = listed.split('\0').filter(|file| !file.is_empty());
    Ok(listed.map(|file| root.join(file)).filter(|file| file.exists()).collect())
}
