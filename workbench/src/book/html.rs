//! Whether the links of the finished book lead to files of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::links::{is_external, join};
use super::page::attributes;

/// Returns how many pages the book has, and what is wrong with their links.
pub(super) fn check(book: &Path) -> Result<(usize, Vec<String>)> {
    let mut files = BTreeSet::new();
    find(book, Path::new(""), &mut files)?;
    let mut pages = BTreeMap::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "html")) {
        let html =
            fs::read_to_string(book.join(path)).with_context(|| format!("reading {}", path.display()))?;
        pages.insert(path.as_path(), html);
    }
    if pages.is_empty() {
        bail!("mdbook made no page");
    }
    let problems = pages.iter().flat_map(|(path, html)| {
        let links = attributes(html, "href").chain(attributes(html, "src")).filter(|link| !is_external(link));
        links
            .filter(|link| !leads_somewhere(path, link, &files, &pages))
            .map(|link| format!("{}: `{link}`", path.display()))
    });
    let problems = problems.collect();
    Ok((pages.len(), problems))
}

fn find(book: &Path, directory: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in
        fs::read_dir(book.join(directory)).with_context(|| format!("reading {}", directory.display()))?
    {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            find(book, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

fn leads_somewhere(
    page: &Path,
    link: &str,
    files: &BTreeSet<PathBuf>,
    pages: &BTreeMap<&Path, String>,
) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        Some(page.to_owned())
    } else {
        page.parent().and_then(|directory| join(directory, Path::new(path)))
    };
    let Some(target) = target.filter(|target| files.contains(target)) else { return false };
    anchor.is_empty()
        || pages.get(target.as_path()).is_some_and(|html| attributes(html, "id").any(|id| id == anchor))
}
