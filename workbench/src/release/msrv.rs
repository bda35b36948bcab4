//! The lowest Rust version: whether what we use and depend on has it, and whether all texts name the same.
//!
//! No compiler of that version takes part. Clippy's lint `incompatible_msrv` finds what the standard library got later; syntax that came
//! later it does not find.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toml_edit::{DocumentMut, Item};
use xtask::cargo::command;

use super::{root, scratch};
use crate::test::output_of;

/// A function of the standard library, and the Rust version that brought it: the lint has to find it. When our lowest version is not below
/// it any more, another one has to take its place.
const NEWER: (&str, &str) = (
    "1.91",
    "//! Uses what is newer than its lowest Rust version.\n\n\
     /// Returns an hour.\npub fn hour() -> std::time::Duration {\n    std::time::Duration::from_mins(60)\n}\n",
);

/// Major and minor version.
type Version = (u32, u32);

/// Returns what speaks against `lowest` as the lowest Rust version.
pub(super) fn problems(lowest: &str) -> Result<Vec<String>> {
    let version = parsed(lowest).with_context(|| format!("`rust-version = \"{lowest}\"` is no version"))?;
    let metadata = ["metadata", "--format-version", "1", "--all-features", "--locked"];
    let metadata = output_of(command(metadata).current_dir(root()), "cargo metadata")?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("reading what cargo metadata prints")?;
    let mut problems = metadata.newer_than(version);
    problems.extend(other_texts(lowest)?);
    problems.extend(lint_is_off(version)?);
    Ok(problems)
}

/// The texts in git that name a Rust version.
fn other_texts(lowest: &str) -> Result<Vec<String>> {
    let mut list = Command::new("git");
    let files =
        output_of(list.args(["ls-files", "-z", "*.md", "clippy.toml"]).current_dir(root()), "git ls-files")?;
    let mut problems = Vec::new();
    // The changelog tells of former versions, too.
    for file in files.split('\0').filter(|file| !file.is_empty() && !file.ends_with("CHANGELOG.md")) {
        let text = fs::read_to_string(root().join(file)).with_context(|| format!("reading {file}"))?;
        problems.extend(others(&text, lowest).map(|other| {
            format!(
                "{file} says {other}, and Cargo.toml says `rust-version = \"{lowest}\"`: change one of them"
            )
        }));
    }
    Ok(problems)
}

/// Returns what `text` says of another Rust version than `lowest`: `Rust 1.90`, or `msrv = "1.90"` for clippy.
fn others(text: &str, lowest: &str) -> impl Iterator<Item = String> {
    ["Rust ", "msrv = \""].into_iter().flat_map(move |before| {
        text.match_indices(before).filter_map(move |(start, _)| {
            let named = &text[start + before.len()..];
            let end = named.find(|next: char| !next.is_ascii_digit() && next != '.').unwrap_or(named.len());
            let named = named[..end].trim_end_matches('.');
            (parsed(named).is_some() && parsed(named) != parsed(lowest)).then(|| format!("`{before}{named}`"))
        })
    })
}

/// Has clippy look at what it has to find, with the lints of the workspace.
fn lint_is_off(lowest: Version) -> Result<Option<String>> {
    let (since, code) = NEWER;
    if parsed(since) <= Some(lowest) {
        bail!(
            "Rust {since} is not above the lowest version any more: choose something newer for NEWER in release/msrv.rs"
        );
    }
    let directory = scratch().join("msrv");
    fs::create_dir_all(directory.join("src"))?;
    let workspace: DocumentMut = fs::read_to_string(root().join("Cargo.toml"))?.parse()?;
    fs::write(directory.join("Cargo.toml"), manifest(&workspace)?.to_string())?;
    fs::write(directory.join("src/lib.rs"), code)?;
    fs::copy(root().join("clippy.toml"), directory.join("clippy.toml"))?;

    let mut clippy = command(["clippy", "--quiet", "--", "-D", "warnings"]);
    let output = clippy.current_dir(&directory).output().context("running cargo clippy")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(Some(
            "clippy does not find what is newer than it: is its lint `incompatible_msrv` off?".to_owned(),
        ))
    } else if complaint.contains("incompatible_msrv") {
        Ok(None)
    } else {
        bail!("clippy failed otherwise than it should: {complaint}")
    }
}

/// Of a crate with the lints and the lowest Rust version of `workspace`.
fn manifest(workspace: &DocumentMut) -> Result<DocumentMut> {
    let of_workspace = &workspace["workspace"];
    let mut manifest: DocumentMut =
        "[package]\nname = \"newer\"\nedition = \"2024\"\n\n[workspace]\n".parse()?;
    manifest["package"]["rust-version"] = of_workspace["package"]["rust-version"].clone();
    let lints = of_workspace.get("lints").and_then(Item::as_table);
    let lints = lints.context("Cargo.toml has no [workspace.lints]")?.clone();
    manifest["lints"] = Item::Table(lints);
    Ok(manifest)
}

/// Of `1.89` or `1.89.0`.
fn parsed(version: &str) -> Option<Version> {
    let mut parts = version.split('.');
    let version = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(version)
}

/// What `cargo metadata` prints of everything.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    source: Option<String>,
    rust_version: Option<String>,
    publish: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Metadata {
    /// Returns the packages that somebody who uses ours compiles, on any platform, and that need a newer Rust than `lowest`.
    fn newer_than(&self, lowest: Version) -> Vec<String> {
        let packages: BTreeMap<_, _> = self.packages.iter().map(|it| (it.id.as_str(), it)).collect();
        let nodes: BTreeMap<_, _> = self.resolve.nodes.iter().map(|it| (it.id.as_str(), it)).collect();
        let is_published = |it: &&Package| it.source.is_none() && it.publish != Some(vec![]);
        let mut waiting: Vec<_> =
            self.packages.iter().filter(is_published).map(|it| it.id.as_str()).collect();
        let mut compiled = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if compiled.insert(id) {
                let edges = nodes.get(id).into_iter().flat_map(|node| &node.deps);
                let is_compiled =
                    |edge: &&Edge| edge.dep_kinds.iter().any(|it| it.kind.as_deref() != Some("dev"));
                waiting.extend(edges.filter(is_compiled).map(|edge| edge.pkg.as_str()));
            }
        }
        let newer = compiled.into_iter().filter_map(|id| {
            let Package { name, version, rust_version, .. } = packages.get(id)?;
            let needs = rust_version.as_deref().filter(|needs| parsed(needs) > Some(lowest))?;
            Some(format!("{name} {version} needs Rust {needs}"))
        });
        newer.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_that_name_another_version_are_found() {
        let others = |text: &str| others(text, "1.89").collect::<Vec<_>>();
        assert_eq!(
            others("It takes Rust 1.89 or later. With Rust 1.89.0, too; from Rust 1.89."),
            [] as [&str; 0]
        );
        assert_eq!(others("Go 1.24, and any Rust program"), [] as [&str; 0]);
        assert_eq!(others("It takes Rust 1.90, or Rust 1.9."), ["`Rust 1.90`", "`Rust 1.9`"]);
        assert_eq!(others("msrv = \"1.88\"\n"), ["`msrv = \"1.88`"]);
    }

    #[test]
    fn what_users_compile_must_not_need_a_newer_rust() {
        let package = |name: &str, needs: Option<&str>, source: Option<&str>| json!({ "id": name, "name": name, "version": "1.0.0", "rust_version": needs, "source": source, "publish": null });
        let edge = |name: &str, kind: Option<&str>| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata: Metadata = serde_json::from_value(json!({
            "packages": [
                package("ours", Some("1.89"), None),
                package("direct", Some("1.89.0"), Some("registry")),
                package("below", Some("1.90"), Some("registry")),
                package("script", Some("2.0"), Some("registry")),
                package("unsaid", None, Some("registry")),
                package("of-tests", Some("1.95"), Some("registry")),
            ],
            "resolve": { "nodes": [
                { "id": "ours", "deps": [edge("direct", None), edge("of-tests", Some("dev"))] },
                { "id": "direct", "deps": [edge("below", None), edge("script", Some("build")), edge("unsaid", None)] },
                { "id": "below", "deps": [edge("direct", None)] },
            ] },
        }))
        .expect("metadata");
        let newer = metadata.newer_than((1, 89));
        assert_eq!(newer, ["below 1.0.0 needs Rust 1.90", "script 1.0.0 needs Rust 2.0"]);
        assert_eq!(metadata.newer_than((2, 0)), [] as [&str; 0]);
    }

    #[test]
    fn the_lint_is_tried_with_the_settings_of_the_workspace() {
        let workspace = "[workspace.package]\nrust-version = \"1.89\"\n\n[workspace.lints.clippy]\nincompatible_msrv = \"allow\"\n";
        let manifest = manifest(&workspace.parse().expect("TOML")).expect("lints").to_string();
        assert!(manifest.contains("rust-version = \"1.89\""), "{manifest}");
        let manifest: DocumentMut = manifest.parse().expect("TOML");
        assert_eq!(manifest["lints"]["clippy"]["incompatible_msrv"].as_str(), Some("allow"));
    }
}
