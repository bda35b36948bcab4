//! The files of the book, laid out for mdBook.
//!
//! They keep the places that they have in the repository, so the same links work in a forge and in the book. The table of contents is
//! `docs/SUMMARY.md`; mdBook wants it at the top.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::fail;
use super::links::{Repository, is_markdown, join};

const SUMMARY: &str = "docs/SUMMARY.md";

/// What mdBook reads itself, beside the pages.
const CONFIGURATION: [&str; 2] = ["book.toml", "book.css"];

/// Copies what belongs to the book into `directory`.
pub(super) fn lay_out(repository: &Repository, directory: &Path) -> Result<()> {
    let copy = |from: &Path, to: &Path| {
        let to = directory.join(to);
        fs::create_dir_all(to.parent().context("a file without a directory")?)?;
        fs::copy(repository.root.join(from), &to).with_context(|| format!("copying {}", from.display()))
    };
    for file in CONFIGURATION {
        copy(&Path::new("docs").join(file), Path::new(file))?;
    }

    let listed: BTreeSet<_> =
        repository.targets(Path::new(SUMMARY)).filter_map(|(_, target)| Some(target?.path)).collect();
    let (files, problems) = files(repository, &listed);
    fail(&format!("pages do not fit into the book that {SUMMARY} lists"), &problems)?;
    for file in listed.iter().chain(&files) {
        copy(file, &Path::new("src").join(file))?;
    }
    let summary =
        fs::read_to_string(repository.root.join(SUMMARY)).context("reading the table of contents")?;
    fs::write(directory.join("src/SUMMARY.md"), seen_from_the_root(&summary)?)
        .context("writing the table of contents")
}

/// The other files that pages of the book link to or show, and what is wrong with the pages.
fn files(repository: &Repository, listed: &BTreeSet<PathBuf>) -> (BTreeSet<PathBuf>, Vec<String>) {
    let mut files = BTreeSet::new();
    let mut problems = Vec::new();
    for page in repository.pages().filter(|page| page.starts_with("docs") && *page != Path::new(SUMMARY)) {
        if !listed.contains(page) {
            problems.push(format!("{} is not listed", page.display()));
        }
    }
    for page in listed {
        for (link, target) in repository.targets(page) {
            let Some(target) = target.map(|target| target.path).filter(|target| !listed.contains(target))
            else {
                continue;
            };
            if is_markdown(&target) {
                problems.push(format!("{}: `{link}` leads to a page that is not listed", page.display()));
            } else if repository.root.join(&target).is_dir() {
                problems
                    .push(format!("{}: `{link}` leads to a directory; link to a file in it", page.display()));
            } else {
                files.insert(target);
            }
        }
    }
    (files, problems)
}

/// The table of contents with links as they are seen from the root of the repository. mdBook has at most one link in a line.
fn seen_from_the_root(summary: &str) -> Result<String> {
    let lines: Vec<_> = summary.lines().map(line_from_the_root).collect::<Result<_>>()?;
    Ok(lines.join("\n") + "\n")
}

fn line_from_the_root(line: &str) -> Result<String> {
    let parts = line.rsplit_once("](").and_then(|(text, rest)| Some((text, rest.strip_suffix(')')?)));
    let Some((text, target)) = parts.filter(|(_, target)| !target.is_empty()) else {
        return Ok(line.to_owned());
    };
    let Some(path) = join(Path::new("docs"), Path::new(target)) else {
        bail!("{SUMMARY}: `{target}` leaves the repository");
    };
    Ok(format!("{text}]({})", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_contents_is_seen_from_the_root() {
        let summary =
            "# Summary\n\n[Introduction](../README.md)\n\n# Part\n\n- [A (b)](a/b.md)\n  - [Draft]()\n";
        let seen =
            "# Summary\n\n[Introduction](README.md)\n\n# Part\n\n- [A (b)](docs/a/b.md)\n  - [Draft]()\n";
        assert_eq!(seen_from_the_root(summary).expect("links within the repository"), seen);
    }
}
