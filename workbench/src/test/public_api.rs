//! What the promised crates have in public, as committed lists: a change of the list is a change for users, and shows in the commit.
//!
//! A crate's list has what can be seen from the promised crates; see [`public_types`]. So internal crates have one as well,
//! of what is re-exported. The program that writes the lists is `workbench/tools/public-api`: it is apart because it switches a feature of
//! `serde_json` on, and everything would be compiled once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use garden_test_programs::cache_directory;
use xtask::cargo::command;

use super::{lints, output_of, public_types};

/// Where the lists are.
const DIRECTORY: &str = "public-api";

/// The program's package.
const TOOL: &str = "tools/public-api/Cargo.toml";

/// Fails if a list is not what is public.
pub(crate) fn check() -> Result<()> {
    lints::documentation()?;
    compare()
}

/// Fails if a list is not what rustdoc has seen when the documentation was made.
pub(super) fn compare() -> Result<()> {
    let (committed, now) = (committed()?, now()?);
    let crates: BTreeSet<_> = committed.keys().chain(now.keys()).collect();
    let differences: Vec<_> = crates
        .into_iter()
        .filter_map(|name| {
            let of = |lists: &BTreeMap<String, String>| lists.get(name).cloned().unwrap_or_default();
            difference(&of(&committed), &of(&now)).map(|difference| format!("{name}:\n{difference}"))
        })
        .collect();
    println!(
        "{} public items of {} crates",
        now.values().map(|list| list.lines().count()).sum::<usize>(),
        now.len()
    );
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        "what is public has changed (- before, + now):\n{}\nIf that is meant, run `cargo xtask public-api`, and say in CHANGELOG.md what users \
         have to change.",
        differences.join("\n")
    )
}

/// Writes the lists.
pub(crate) fn write() -> Result<()> {
    lints::documentation()?;
    let now = now()?;
    let directory = directory();
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    for (name, list) in now {
        let file = directory.join(name).with_extension("txt");
        fs::write(&file, list).with_context(|| format!("writing {}", file.display()))?;
    }
    println!("wrote {}", directory.display());
    Ok(())
}

/// Returns the manifest of the program that lists what is public.
pub(super) fn manifest_of_the_program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(TOOL)
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(DIRECTORY)
}

/// Returns the committed lists, by crate.
fn committed() -> Result<BTreeMap<String, String>> {
    let directory = directory();
    let listed = fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
    listed
        .map(|entry| {
            let file = entry?.path();
            let name = file.file_stem().context("a list without a name")?.to_string_lossy().into_owned();
            Ok((name, fs::read_to_string(&file)?))
        })
        .collect()
}

/// Returns the lists as they should be, by crate.
fn now() -> Result<BTreeMap<String, String>> {
    let shown = public_types::items_that_show()?;
    shown
        .into_iter()
        .map(|(name, shown)| {
            let printed = print(&name)?;
            let list = list(&printed, &shown).with_context(|| format!("listing {name}"))?;
            Ok((name.replace('_', "-"), list))
        })
        .filter(|list: &Result<(String, String)>| list.as_ref().map_or(true, |(_, list)| !list.is_empty()))
        .collect()
}

/// Returns what the program prints about a crate.
fn print(name: &str) -> Result<String> {
    let mut run = command(["run", "--quiet", "--locked", "--manifest-path"]);
    run.arg(manifest_of_the_program()).arg("--target-dir").arg(cache_directory()?.join("cargo/public-api"));
    run.arg("--").arg(public_types::documentation().join(format!("{name}.json")));
    output_of(&mut run, "listing what is public")
}

/// An item as the program prints it.
struct Line<'p> {
    id: &'p str,
    parent: &'p str,
    item: &'p str,
}

/// Returns the list of a crate: those of the printed items that show, and that say something.
fn list(printed: &str, shown: &BTreeSet<String>) -> Result<String> {
    let lines = printed.lines().map(|line| {
        let mut parts = line.splitn(3, '\t');
        let (Some(id), Some(parent), Some(item)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("a line without its parts: {line}")
        };
        Ok(Line { id, parent, item })
    });
    let lines = lines.collect::<Result<Vec<_>>>()?;
    let of_traits: BTreeSet<_> =
        lines.iter().filter(|line| is_of_a_trait(line.item)).map(|line| line.id).collect();
    let says = |line: &&Line<'_>| {
        let is_known = of_traits.contains(line.parent) && line.item.contains("fn ");
        shown.contains(line.id) && !is_known && !is_expected(line.item)
    };
    Ok(lines.iter().filter(says).flat_map(|line| [line.item, "\n"]).collect())
}

/// Whether an item implements a trait: its functions are those of the trait.
fn is_of_a_trait(item: &str) -> bool {
    item.starts_with("impl") && item.contains(" for ")
}

/// What nearly all types have, so that its absence is listed instead; and what no program can name.
fn is_expected(item: &str) -> bool {
    const AUTOMATIC: [&str; 7] =
        ["Send", "Sync", "Unpin", "Freeze", "UnsafeUnpin", "UnwindSafe", "RefUnwindSafe"];
    let Some((start, _)) = item.split_once(" for ") else { return false };
    let name = start.rsplit(' ').next().unwrap_or_default();
    let last = name.rsplit("::").next().unwrap_or_default();
    let is_absent = name.starts_with('!') && ["Send", "Sync", "Unpin"].contains(&last);
    last == "StructuralPartialEq" || (AUTOMATIC.contains(&last) && !is_absent)
}

/// Returns the lines that only one of two lists has, or nothing if there are none.
fn difference(before: &str, now: &str) -> Option<String> {
    let lines = |list: &str| list.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, now) = (lines(before), lines(now));
    let gone = before.difference(&now).map(|line| (line, "- "));
    let new = now.difference(&before).map(|line| (line, "+ "));
    // Both forms of an item that has changed stand beside each other.
    let mut changed: Vec<_> = gone.chain(new).collect();
    changed.sort_by_key(|(line, sign)| (path(line), *sign == "+ "));
    let lines: Vec<_> = changed.iter().map(|(line, sign)| format!("  {sign}{line}")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Returns what an item is called.
fn path(item: &str) -> &str {
    let start = item.find("garden_").unwrap_or_default();
    let rest = &item[start..];
    &rest[..rest.find(['(', '<', ' ']).unwrap_or(rest.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
0\t-\tpub mod garden_build
1\t0\tpub struct garden_build::Builder
2\t1\timpl garden_build::Builder
3\t2\tpub fn garden_build::Builder::build(&self) -> u8
4\t1\timpl core::clone::Clone for garden_build::Builder
5\t4\tpub fn garden_build::Builder::clone(&self) -> garden_build::Builder
6\t1\timpl core::iter::Iterator for garden_build::Builder
7\t6\tpub type garden_build::Builder::Item = u8
8\t1\timpl<T> core::marker::Send for garden_build::Builder
9\t1\timpl !core::marker::Sync for garden_build::Builder
10\t0\tpub struct garden_build::NotShown
";

    fn list_of(shown: std::ops::Range<u32>) -> String {
        list(PRINTED, &shown.map(|id| id.to_string()).collect()).expect("lines with parts")
    }

    #[test]
    fn a_list_has_what_shows_and_leaves_out_what_is_expected() {
        assert_eq!(
            list_of(0..10),
            "\
pub mod garden_build
pub struct garden_build::Builder
impl garden_build::Builder
pub fn garden_build::Builder::build(&self) -> u8
impl core::clone::Clone for garden_build::Builder
impl core::iter::Iterator for garden_build::Builder
pub type garden_build::Builder::Item = u8
impl !core::marker::Sync for garden_build::Builder
"
        );
    }

    #[test]
    fn what_has_changed_stands_beside_what_it_was() {
        let before = "pub fn garden_build::a() -> u8\npub fn garden_build::b()\npub fn garden_build::c()\n";
        let now = "pub fn garden_build::a() -> u16\npub fn garden_build::c()\npub fn garden_build::d()\n";
        assert_eq!(
            difference(before, now).as_deref(),
            Some(
                "  - pub fn garden_build::a() -> u8\n  + pub fn garden_build::a() -> u16\n  - pub fn garden_build::b()\n  + pub fn garden_build::d()"
            )
        );
        assert_eq!(difference(before, before), None);
    }
}
