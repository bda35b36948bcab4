//! The packages with the lowest versions that they say suffice. Otherwise only the newest ones would ever be tried.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use tar::Archive;
use toml_edit::{DocumentMut, InlineTable, Item, Table, value};
use xtask::cargo::{command, succeed};

use super::archive::Packed;
use super::{root, scratch};

/// Compiles all of `packed` together, each with the lowest versions of what it names itself. What those need in turn is as new as can be,
/// since a bound that is too low there is not ours to raise.
///
/// The first time, cargo downloads these versions.
pub(super) fn check(packed: &[Packed]) -> Result<()> {
    let workspace = scratch().join("minimal-versions");
    match fs::remove_dir_all(&workspace) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&workspace)?,
    }
    for packed in packed {
        unpack(packed, &workspace).with_context(|| format!("unpacking {}", packed.file.display()))?;
    }
    fs::write(workspace.join("Cargo.toml"), manifest(packed).to_string())?;

    let mut resolve = command(["generate-lockfile", "-Z", "direct-minimal-versions"]);
    // The option is not stable. Compilers and build scripts below must not hear of this variable: they would use more that is not stable.
    resolve.env("RUSTC_BOOTSTRAP", "1").current_dir(&workspace);
    succeed(&mut resolve, "choosing the lowest versions")?;
    let mut compile = command(["check", "--workspace", "--all-features", "--locked", "--quiet"]);
    compile.arg("--target-dir").arg(root().join("target")).current_dir(&workspace);
    compile.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    succeed(
        &mut compile,
        "compiling with the lowest versions (raise the bound in [workspace.dependencies] of Cargo.toml where a newer one is needed)",
    )
}

/// Without what only tests need: whoever uses a crate does not compile its tests.
fn unpack(packed: &Packed, workspace: &Path) -> Result<()> {
    Archive::new(GzDecoder::new(File::open(&packed.file)?)).unpack(workspace)?;
    let manifest = workspace.join(directory(packed)).join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(manifest, without_tests(&text)?)?;
    Ok(())
}

fn without_tests(manifest: &str) -> Result<String> {
    let mut manifest: DocumentMut = manifest.parse()?;
    manifest.remove("dev-dependencies");
    // Only those of a workspace count; cargo would warn.
    manifest.remove("profile");
    if let Some(targets) = manifest.get_mut("target").and_then(Item::as_table_mut) {
        for (_, target) in targets.iter_mut() {
            target.as_table_mut().map(|target| target.remove("dev-dependencies"));
        }
    }
    Ok(manifest.to_string())
}

/// A workspace in which the packages use one another, and not what a registry has.
fn manifest(packed: &[Packed]) -> DocumentMut {
    let mut workspace = Table::new();
    workspace["resolver"] = value("3");
    workspace["members"] = value(packed.iter().map(directory).collect::<toml_edit::Array>());
    let mut registry = Table::new();
    for packed in packed {
        let path = InlineTable::from_iter([("path", directory(packed))]);
        registry[packed.name.as_str()] = value(path);
    }
    let mut patch = Table::new();
    patch["crates-io"] = Item::Table(registry);
    let mut manifest = DocumentMut::new();
    manifest["workspace"] = Item::Table(workspace);
    manifest["patch"] = Item::Table(patch);
    manifest
}

fn directory(packed: &Packed) -> String {
    format!("{}-{}", packed.name, packed.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_need_is_taken_out_of_a_manifest() {
        let manifest = "[package]\nname = \"a\"\n\n[dependencies.b]\nversion = \"1\"\n\n[dev-dependencies.c]\nversion = \"1\"\n\n\
             [target.\"cfg(unix)\".dependencies.d]\nversion = \"1\"\n\n[target.\"cfg(unix)\".dev-dependencies.e]\nversion = \"1\"\n\n\
             [profile.dev]\ndebug = true\n";
        let expected = "[package]\nname = \"a\"\n\n[dependencies.b]\nversion = \"1\"\n\n\
             [target.\"cfg(unix)\".dependencies.d]\nversion = \"1\"\n";
        assert_eq!(without_tests(manifest).expect("TOML"), expected);
    }

    #[test]
    fn packages_use_one_another() {
        let packed = ["a", "b"].map(|name| Packed {
            name: name.into(),
            version: "0.1.0".into(),
            sources: ".".into(),
            file: "a.crate".into(),
            bytes: 0,
            entries: vec![],
        });
        let manifest = manifest(&packed).to_string();
        assert!(manifest.contains("members = [\"a-0.1.0\", \"b-0.1.0\"]"), "{manifest}");
        assert!(
            manifest.contains("[patch.crates-io]\na = { path = \"a-0.1.0\" }\nb = { path = \"b-0.1.0\" }"),
            "{manifest}"
        );
    }
}
