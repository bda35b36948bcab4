//! What the workspace may depend on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use spdx::{Expression, LicenseReq, ParseMode};
use xtask::cargo::command;

use super::output_of;

/// What the core crate must never link, so that it stays quick to build and free of networks.
const NOT_IN_CORE: [&str; 4] = ["kube", "hyper", "tonic", "reqwest"];

/// Where every package comes from that is not of this repository.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences that let a program of any licence link the package, and that ask for no more than that they are named.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that users link in more than one version, and who has not yet followed.
const TWICE: [(&str, &str); 6] = [
    ("base64", "kube and serde-saphyr use 0.23; bollard, k8s-openapi and tonic still 0.22"),
    ("getrandom", "ahash, of kube, still uses 0.3"),
    ("hashbrown", "kube-runtime still uses 0.16"),
    ("r-efi", "of both versions of getrandom, on UEFI only"),
    ("syn", "only while compiling: many derive macros still use 2"),
    ("unicode-width", "miette still uses 0.1"),
];

pub(super) fn check() -> Result<()> {
    rules()?;
    compiled_once()?;
    duplicates()?;
    licences_and_sources()
}

/// Checks what the design says of the dependency graph and the compiler cannot.
fn rules() -> Result<()> {
    let core = tree(&["--package", "garden-build-core", "--edges", "normal", "--format", "{lib}"])?;
    for forbidden in NOT_IN_CORE {
        if core.contains(forbidden) {
            bail!("garden-build-core must not link {forbidden}: see ARCHITECTURE.md");
        }
    }
    // Two providers of cryptography in one graph make rustls refuse to choose, at run time.
    if tree(&["--workspace", "--edges", "normal", "--format", "{lib}"])?.contains("ring") {
        bail!("the graph links ring besides aws-lc-rs: switch off the feature that brings it");
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

fn duplicates() -> Result<()> {
    let of_users = ["--package", "garden-build", "--all-features", "--edges", "normal", "--target", "all"];
    let packages = tree(&[&of_users[..], &["--format", "{p}"]].concat())?;
    let problems = unexplained(packages.iter().map(String::as_str));
    if !problems.is_empty() {
        bail!(
            "TWICE in workbench/src/test/dependencies.rs does not say what is linked twice:\n  {}",
            problems.join("\n  ")
        );
    }
    Ok(())
}

/// `packages` are names with versions.
fn unexplained<'p>(packages: impl Iterator<Item = &'p str>) -> Vec<String> {
    let mut versions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, rest) in packages.filter_map(|package| package.split_once(' ')) {
        versions.entry(name).or_default().insert(rest.split(' ').next().unwrap_or_default());
    }
    versions.retain(|_, versions| versions.len() > 1);
    let explained: BTreeSet<_> = TWICE.iter().map(|(name, _)| *name).collect();
    let unexplained = versions
        .iter()
        .filter(|(name, _)| !explained.contains(*name))
        .map(|(name, versions)| format!("{name} is linked in {} versions: {versions:?}", versions.len()));
    let outdated = explained.iter().filter(|name| !versions.contains_key(*name));
    unexplained.chain(outdated.map(|name| format!("{name} is linked once only"))).collect()
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Of all packages of `Cargo.lock`, for every platform.
fn licences_and_sources() -> Result<()> {
    let metadata =
        output_of(&mut command(["metadata", "--format-version", "1", "--locked"]), "cargo metadata")?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("reading what cargo metadata prints")?;
    let problems: Vec<_> = metadata.packages.iter().filter_map(problem).collect();
    if !problems.is_empty() {
        bail!("packages that must not be used:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

fn problem(package: &Package) -> Option<String> {
    let Package { name, version, license, source } = package;
    if source.as_deref().is_some_and(|source| source != SOURCE) {
        return Some(format!("{name} {version} does not come from crates.io"));
    }
    let Some(license) = license else { return Some(format!("{name} {version} names no licence")) };
    // Old packages write a slash for "or".
    let Ok(expression) = Expression::parse_mode(license, ParseMode::LAX) else {
        return Some(format!("{name} {version} has the licence `{license}`, which is no SPDX expression"));
    };
    let allowed = |licence: &LicenseReq| licence.license.id().is_some_and(|id| LICENCES.contains(&id.name));
    (!expression.evaluate(allowed)).then(|| format!("{name} {version} has the licence `{license}`"))
}

/// Returns the lines of `cargo tree`.
fn tree(arguments: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = command(["tree", "--prefix", "none", "--no-dedupe"]);
    let lines = output_of(command.args(arguments), "cargo tree")?;
    // What follows in parentheses is where the package lies, or that it is a macro.
    Ok(lines.lines().map(|line| line.replace(" (proc-macro)", "").trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(license: Option<&str>, source: Option<&str>) -> Package {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Package { name: "a".into(), version: "1.0.0".into(), license: owned(license), source: owned(source) }
    }

    #[test]
    fn a_package_needs_a_licence_of_the_list_and_comes_from_crates_io() {
        for license in ["MIT", "MIT/Apache-2.0", "GPL-3.0-only OR ISC", "MIT AND (Zlib OR GPL-2.0-only)"] {
            assert_eq!(problem(&package(Some(license), Some(SOURCE))), None, "{license}");
        }
        for license in [None, Some("GPL-3.0-only"), Some("MIT AND LGPL-2.1-or-later"), Some("my own")] {
            assert!(problem(&package(license, Some(SOURCE))).is_some(), "{license:?}");
        }
        assert!(problem(&package(Some("MIT"), Some("git+https://git.example/a"))).is_some());
        assert_eq!(problem(&package(Some("MIT"), None)), None);
    }

    #[test]
    fn what_is_linked_twice_needs_a_reason_and_a_reason_needs_what_is_linked_twice() {
        let twice = TWICE.iter().flat_map(|(name, _)| [format!("{name} v1.0.0"), format!("{name} v2.0.0")]);
        let mut packages: Vec<_> = twice.collect();
        let problems = |packages: &[String]| unexplained(packages.iter().map(String::as_str));
        assert_eq!(problems(&packages), [] as [&str; 0]);
        packages.extend([
            "new v1.0.0".to_owned(),
            "new v2.0.0 (proc-macro)".to_owned(),
            "one v1.0.0".to_owned(),
        ]);
        assert_eq!(problems(&packages).len(), 1);
        packages.retain(|package| package != "syn v2.0.0");
        assert_eq!(problems(&packages).len(), 2);
    }
}
