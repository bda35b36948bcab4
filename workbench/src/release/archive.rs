//! Packages as cargo makes them: each is compiled from its own files alone, with the other packages in place of the registry.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use tar::Archive;
use xtask::cargo::{command, succeed};

use super::root;
use super::workspace::Workspace;

/// The package of a crate.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) name: String,
    pub(super) version: String,
    /// The directory of the crate's sources.
    pub(super) sources: PathBuf,
    /// The package itself.
    pub(super) file: PathBuf,
    /// How long the package is, compressed as it is.
    pub(super) bytes: u64,
    pub(super) entries: Vec<Entry>,
}

/// A file of a package.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    /// Relative to the crate.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// Whether it is a file, and no link.
    pub(super) is_file: bool,
}

/// Packages every published crate and compiles what is in the package. Needs no network, as what the crates depend on is here already.
///
/// It shares the directory of what is compiled with everything else, and so the profile.
pub(super) fn package(workspace: &Workspace, may_be_changed: bool) -> Result<Vec<Packed>> {
    let mut cargo = command(["package", "--workspace", "--offline", "--quiet"]);
    cargo.args(workspace.private.iter().flat_map(|name| ["--exclude", name]));
    if may_be_changed {
        cargo.arg("--allow-dirty");
    }
    // As in the workspace: packages other than the facade do not have its profile.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    succeed(cargo.current_dir(root()), "cargo package")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    workspace
        .published
        .iter()
        .map(|package| {
            let (name, version) = (package.name.clone(), package.version.clone());
            let file = target.join(format!("package/{name}-{version}.crate"));
            let packed = File::open(&file).with_context(|| format!("opening {}", file.display()))?;
            let bytes = packed.metadata()?.len();
            let entries = entries(GzDecoder::new(packed), &format!("{name}-{version}"))
                .with_context(|| format!("reading {}", file.display()))?;
            let sources = package.manifest_path.parent().unwrap_or(root()).to_owned();
            Ok(Packed { name, version, sources, file, bytes, entries })
        })
        .collect()
}

/// Everything in a package lies in one directory, `top`.
fn entries(archive: impl Read, top: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Archive::new(archive).entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let path = path.strip_prefix(top).with_context(|| format!("{} is not in {top}", path.display()))?;
        let path = path.to_str().context("a name is not UTF-8")?.to_owned();
        entries.push(Entry { path, bytes: entry.size(), is_file: entry.header().entry_type().is_file() });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use tar::{Builder, EntryType, Header};

    use super::*;

    fn archive(path: &str, kind: EntryType) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(2);
        let mut archive = Builder::new(Vec::new());
        archive.append_data(&mut header, path, &b"MI"[..]).expect("to memory");
        archive.into_inner().expect("to memory")
    }

    #[test]
    fn files_are_named_as_in_the_crate_and_links_are_told_apart() {
        let read = |archive: Vec<u8>| entries(&archive[..], "a-0.1.0");
        let entry = |is_file| Entry { path: "src/lib.rs".to_owned(), bytes: 2, is_file };
        assert_eq!(
            read(archive("a-0.1.0/src/lib.rs", EntryType::Regular)).expect("an archive"),
            [entry(true)]
        );
        assert_eq!(
            read(archive("a-0.1.0/src/lib.rs", EntryType::Symlink)).expect("an archive"),
            [entry(false)]
        );
        assert!(read(archive("b-0.1.0/src/lib.rs", EntryType::Regular)).is_err());
    }
}
