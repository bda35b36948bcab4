//! Whether the links between the files of the repository lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::page::Page;

/// The files of the repository, and what its Markdown files say of each other. All paths are relative to its root.
#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) root: PathBuf,
    /// Files and directories.
    paths: BTreeSet<PathBuf>,
    pages: BTreeMap<PathBuf, Page>,
}

/// Where a link within the repository leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    anchor: Option<String>,
}

impl Repository {
    /// Reads those of `files` that are Markdown.
    pub(super) fn read(root: &Path, files: &[PathBuf]) -> Result<Self> {
        let mut repository = Self { root: root.to_owned(), ..Self::default() };
        for file in files {
            let path = file.strip_prefix(root).context("a file outside of the repository")?;
            let markdown = is_markdown(path).then(|| fs::read_to_string(file)).transpose();
            repository.add(path, markdown.with_context(|| format!("reading {}", path.display()))?.as_deref());
        }
        Ok(repository)
    }

    fn add(&mut self, path: &Path, markdown: Option<&str>) {
        self.paths.extend(path.ancestors().map(Path::to_owned));
        if let Some(markdown) = markdown {
            self.pages.insert(path.to_owned(), Page::read(markdown));
        }
    }

    /// How many Markdown files there are.
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// The Markdown files.
    pub(super) fn pages(&self) -> impl Iterator<Item = &Path> {
        self.pages.keys().map(PathBuf::as_path)
    }

    /// Where the links of a page lead within the repository. A link that leads out of it is `None`.
    pub(super) fn targets(&self, page: &Path) -> impl Iterator<Item = (&str, Option<Target>)> {
        let links = self.pages.get(page).map_or(&[][..], |page| &page.links);
        links.iter().filter(|link| !is_external(link)).map(move |link| (link.as_str(), target(page, link)))
    }

    /// What is wrong with the links, one line for each.
    pub(super) fn problems(&self) -> Vec<String> {
        let all =
            self.pages().flat_map(|page| self.targets(page).map(move |(link, target)| (page, link, target)));
        all.filter_map(|(page, link, target)| {
            let problem = match target {
                None => "leaves the repository".to_owned(),
                Some(target) => self.problem(&target)?,
            };
            Some(format!("{}: `{link}` {problem}", page.display()))
        })
        .collect()
    }

    fn problem(&self, target: &Target) -> Option<String> {
        let Target { path, anchor } = target;
        if !self.paths.contains(path) {
            return Some(format!("leads to {}, which does not exist", path.display()));
        }
        let anchor = anchor.as_ref()?;
        let known = self.pages.get(path).is_some_and(|page| page.anchors.contains(anchor));
        (!known).then(|| format!("leads to `#{anchor}`, but {} has no such heading", path.display()))
    }
}

pub(super) fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// Whether a link has a scheme. Other servers are not asked: a test must not depend on them.
pub(super) fn is_external(link: &str) -> bool {
    let end = link.find([':', '/', '#']);
    end.is_some_and(|end| link[end..].starts_with(':'))
}

/// Where a link on `page` leads, unless that is outside of the repository.
fn target(page: &Path, link: &str) -> Option<Target> {
    let (path, anchor) =
        link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor.to_owned())));
    let path = if path.is_empty() { page.to_owned() } else { join(page.parent()?, Path::new(path))? };
    Some(Target { path, anchor })
}

/// `path`, seen from `directory`.
pub(super) fn join(directory: &Path, path: &Path) -> Option<PathBuf> {
    let mut joined = directory.to_owned();
    for component in path.components() {
        match component {
            Component::Normal(name) => joined.push(name),
            Component::ParentDir => joined.pop().then_some(())?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_named() {
        let mut repository = Repository::default();
        repository.add(
            Path::new("README.md"),
            Some("# Top\n\n[a](docs/a.md#part) [b](docs/b.md) [c](#nowhere) [d](docs)"),
        );
        repository.add(
            Path::new("docs/a.md"),
            Some("## Part\n\n[up](../README.md#top) [out](../../x) [web](https://x.example/y) ![i](i.svg)"),
        );
        repository.add(Path::new("docs/i.svg"), None);
        assert_eq!(
            repository.problems(),
            [
                "README.md: `docs/b.md` leads to docs/b.md, which does not exist",
                "README.md: `#nowhere` leads to `#nowhere`, but README.md has no such heading",
                "docs/a.md: `../../x` leaves the repository",
            ]
        );
    }
}
