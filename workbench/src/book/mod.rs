//! `cargo xtask book`: the pages as a book with search, and the check that every link leads somewhere.
//!
//! * `page`: the links and headings of a Markdown file.
//! * `links`: whether the links of all files lead to files and headings of the repository, as a forge shows them.
//! * `layout`: the files that become the book, at the places that they have in the repository.
//! * `html`: whether the links of the finished book lead to its files.

mod html;
mod layout;
mod links;
mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::tools::MDBOOK;

use crate::test::files;
use links::Repository;

/// Writes the book.
pub(crate) fn write() -> Result<()> {
    println!("{}", build()?.join("index.html").display());
    Ok(())
}

/// Fails if a link of the pages leads nowhere, in the repository or in the book.
pub(crate) fn check() -> Result<()> {
    build().map(drop)
}

/// Returns the directory of the book.
fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
    let repository = Repository::read(root, &files(&[])?)?;
    fail("links of Markdown files lead nowhere", &repository.problems())?;

    let directory = root.join("target/book");
    if directory.exists() {
        fs::remove_dir_all(&directory).context("removing the former book")?;
    }
    layout::lay_out(&repository, &directory)?;
    let output =
        Command::new(MDBOOK.path()?).arg("build").arg(&directory).output().context("running mdbook")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("WARN") {
        bail!("mdbook is not content with the pages:\n{said}");
    }
    let book = directory.join("html");
    let (pages, problems) = html::check(&book)?;
    fail("links of the book lead nowhere", &problems)?;
    println!("{} Markdown files, {pages} pages in the book: every link leads somewhere", repository.len());
    Ok(book)
}

fn fail(what: &str, problems: &[String]) -> Result<()> {
    if !problems.is_empty() {
        bail!("{what}:\n  {}", problems.join("\n  "));
    }
    Ok(())
}
