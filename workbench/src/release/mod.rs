//! `cargo xtask release`: whether the crates can be published, and what to run for that.
//!
//! [`workspace`] is what cargo knows of the crates and in which order they are published. [`manifest`], [`readiness`] and [`contents`] are
//! the rules, as functions from facts to complaints; [`msrv`], [`archive`], [`docs_rs`] and [`minimal_versions`] run cargo.

mod archive;
mod contents;
mod docs_rs;
mod manifest;
mod minimal_versions;
mod msrv;
mod readiness;
mod table;
mod workspace;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use xtask::progress::step;

use readiness::Facts;
use table::Row;
use workspace::Workspace;

/// How a release is checked.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Warn of what is not prepared, such as the version's lines in the changelog, and check everything else.
    #[arg(long)]
    dry_run: bool,
}

/// Checks everything that can be checked before crates are published, the quick checks first. Publishes nothing: whoever has the right to
/// runs the commands that are printed at the end.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::read()?;
    let version = workspace.version()?;
    let unprepared = readiness::unprepared(&Facts::gather(&workspace, version)?);
    if !options.dry_run && !unprepared.is_empty() {
        bail!("version {version} is not prepared for a release:{}", list(&unprepared));
    }

    let manifests = workspace.published.iter().flat_map(|package| manifest::problems(package, &workspace));
    fail("the crates' manifests are not fit for a release", &manifests.collect::<Vec<_>>())?;
    step("checking the lowest Rust version", || {
        fail("the lowest Rust version is not right", &msrv::problems(workspace.rust_version()?)?)
    })?;

    let packed = step("packaging every crate and compiling it from its package (minutes)", || {
        archive::package(&workspace, options.dry_run)
    })?;
    let rows = packed.iter().map(|packed| Ok(Row { problems: contents::check(packed)?, packed }));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    println!("\n{}", table::table(&rows));
    let problems =
        rows.iter().flat_map(|row| row.problems.iter().map(|it| format!("{}: {it}", row.packed.name)));
    fail("packages do not contain what they should", &problems.collect::<Vec<_>>())?;
    step("compiling the packages with the lowest versions of what they depend on (minutes)", || {
        minimal_versions::check(&packed)
    })?;

    step("making the pages as docs.rs does", || docs_rs::check(&workspace))?;

    if options.dry_run {
        if unprepared.is_empty() {
            println!("\nversion {version} is ready for `cargo xtask release`");
        } else {
            println!(
                "\nwarning: the crates are fit for a release, but version {version} is not prepared:{}",
                list(&unprepared)
            );
        }
    } else {
        println!("\n{}", instructions(version, &workspace));
    }
    Ok(())
}

/// What is left to do by somebody who may publish the crates.
fn instructions(version: &str, workspace: &Workspace) -> String {
    let order: Vec<_> = workspace.published.iter().map(|package| package.name.as_str()).collect();
    format!(
        "Version {version} can be released. Run these commands, each if the one before it succeeded:\n  \
         cargo xtask test\n  \
         cargo xtask semver\n  \
         cargo deny --workspace check advisories\n  \
         cargo publish --workspace\n  \
         git tag --annotate v{version} --message 'Version {version}'\n  \
         git push origin v{version}\n\
         Cargo publishes in an order in which each crate finds what it needs, such as:\n  {}",
        order.join(", ")
    )
}

fn fail(what: &str, problems: &[String]) -> Result<()> {
    if problems.is_empty() { Ok(()) } else { bail!("{what}:{}", list(problems)) }
}

fn list(problems: &[String]) -> String {
    problems.iter().flat_map(|problem| ["\n  ", problem]).collect()
}

/// The directory of the workspace.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where packages are made and compiled. Kept, so that the next check compiles only what has changed.
fn scratch() -> PathBuf {
    root().join("target/release-check")
}
