//! The links of the pages, which have to work in a checkout and on docs.rs.
//!
//! A page leads to another file by `[text][label]`. The label is the file's path from `docs`. In a checkout, and in the book, the definition at
//! the page's end leads to the file. In rustdoc `src/docs/links.md` stands before the page, and its definition of the same label counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What rustdoc shows instead of the pages' own definitions.
const FOR_RUSTDOC: &str = "src/docs/links.md";

/// The modules that rustdoc makes of pages. Other pages are shown in the book only.
const MODULES: &str = "src/docs.rs";

/// The page that crates.io and docs.rs show first is read in a few minutes.
const LONGEST_README: usize = 9 * 1024;

/// Fails if a link of a page leads nowhere, in a checkout or on docs.rs, or README.md is too long.
pub(super) fn check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    let for_rustdoc = definitions(&read(&root.join(FOR_RUSTDOC))?);
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for page in pages_of_rustdoc(&read(&root.join(MODULES))?) {
        let text = read(&root.join(&page))?;
        let links = Links { root, page: &page, for_rustdoc: &for_rustdoc };
        problems.extend(links.problems(&text).into_iter().map(|what| format!("{}: {what}", page.display())));
        used.extend(definitions(&text).into_keys());
    }
    let readme = fs::metadata(root.join("README.md")).context("reading README.md")?.len();
    if readme > LONGEST_README as u64 {
        problems.push(format!("README.md has {readme} bytes, and {LONGEST_README} is the most"));
    }
    let unused = for_rustdoc.keys().filter(|label| !used.contains(*label));
    problems.extend(unused.map(|label| format!("{FOR_RUSTDOC}: no page has a link `{label}`")));
    if !problems.is_empty() {
        bail!("links of pages:\n  {}", problems.join("\n  "));
    }
    println!("{} links", used.len());
    Ok(())
}

/// The pages that `modules` includes, and README.md, which is the crate's own.
fn pages_of_rustdoc(modules: &str) -> Vec<PathBuf> {
    let is_page = |text: &str| Path::new(text).extension().is_some_and(|extension| extension == "md");
    let texts = modules.split('"').skip(1).step_by(2);
    let pages = texts.filter(|text| is_page(text) && !FOR_RUSTDOC.ends_with(text));
    let paths = pages.map(|page| Path::new("docs").join(page.trim_start_matches("../docs/")));
    paths.chain([PathBuf::from("README.md")]).collect()
}

/// The links of one page.
struct Links<'a> {
    root: &'a Path,
    /// Where the page is, from the root.
    page: &'a Path,
    for_rustdoc: &'a BTreeMap<String, String>,
}

impl Links<'_> {
    fn problems(&self, text: &str) -> Vec<String> {
        let defined = definitions(text);
        let prose = without_code(text);
        let mut problems = Vec::new();
        for target in between(&prose, "](", ")") {
            if !target.starts_with('#') && !target.contains("://") {
                problems.push(format!("write `[…][LABEL]` instead of `](…)` for `{target}`"));
            }
        }
        let used: BTreeSet<_> = between(&prose, "][", "]").collect();
        for label in &used {
            if !defined.contains_key(*label) {
                problems.push(format!("`{label}` is not defined at the end of the page"));
            }
        }
        for (label, target) in &defined {
            if !used.contains(label.as_str()) {
                problems.push(format!("nothing uses the link `{label}`"));
            }
            let file = |path: &str| path.split('#').next().unwrap_or_default().to_owned();
            let directory = self.page.parent().unwrap_or(Path::new(""));
            let reached = joined(directory, &file(target));
            if reached != joined(Path::new("docs"), &file(label))
                || target.split_once('#') != split(label, target)
            {
                problems.push(format!("`{label}` and `{target}` are not the same place"));
            } else if !self.root.join(&reached).exists() {
                problems.push(format!("`{target}` does not exist"));
            }
            if !self.for_rustdoc.contains_key(label) {
                problems.push(format!("{FOR_RUSTDOC} does not define `{label}`"));
            }
        }
        problems
    }
}

/// The file of `target` with the anchor of `label`, as `target` should be.
fn split<'a>(label: &'a str, target: &'a str) -> Option<(&'a str, &'a str)> {
    let anchor = label.split_once('#')?.1;
    Some((target.split('#').next()?, anchor))
}

/// The definitions of links in a page: label and target. Those of footnotes are something else.
fn definitions(page: &str) -> BTreeMap<String, String> {
    let of_line = |line: &str| {
        let (label, target) = line.strip_prefix('[')?.split_once("]: ")?;
        (!label.starts_with('^')).then(|| (label.to_owned(), target.trim().to_owned()))
    };
    page.lines().filter_map(of_line).collect()
}

/// A page without its blocks of code and its code in lines, in which brackets are no links.
fn without_code(page: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            // A link's text may be code: what is left of it is empty.
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// What stands between `begin` and the next `end`, each time.
fn between<'a>(text: &'a str, begin: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
}

/// `path` as seen from `directory`, without `..`.
fn joined(directory: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::ParentDir => {
                joined.pop();
            }
            other => joined.push(other),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(page: &str, text: &str) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a root");
        let for_rustdoc =
            definitions("[caching.md]: crate::docs::caching\n[caching.md#a]: crate::docs::caching#a\n");
        Links { root, page: Path::new(page), for_rustdoc: &for_rustdoc }.problems(text)
    }

    #[test]
    fn pages_are_found_in_the_modules() {
        let modules = "#![doc = include_str!(\"docs/links.md\")]\n#![doc = include_str!(\"../docs/a.md\")]\nb: \"modes/b.md\",";
        assert_eq!(
            pages_of_rustdoc(modules),
            ["docs/a.md", "docs/modes/b.md", "README.md"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_link_that_works_everywhere_is_fine() {
        assert_eq!(problems("README.md", "[`a`][caching.md]\n\n[caching.md]: docs/caching.md\n"), [""; 0]);
        assert_eq!(
            problems("docs/modes/a.md", "[a][caching.md#a]\n\n[caching.md#a]: ../caching.md#a\n"),
            [""; 0]
        );
        assert_eq!(
            problems("docs/a.md", "[a](#b) [c](https://example.org)\n```\n[a](b)\n```\n`[a](b)`\n"),
            [""; 0]
        );
    }

    #[test]
    fn what_leads_nowhere_somewhere_is_named() {
        for (text, expected) in [
            ("[a](caching.md)", "write `[…][LABEL]` instead of `](…)` for `caching.md`"),
            ("[a][caching.md]", "`caching.md` is not defined at the end of the page"),
            ("[caching.md]: caching.md", "nothing uses the link `caching.md`"),
            (
                "[a][caching.md]\n[caching.md]: modes/kaniko.md",
                "`caching.md` and `modes/kaniko.md` are not the same place",
            ),
            (
                "[a][caching.md#a]\n[caching.md#a]: caching.md#b",
                "`caching.md#a` and `caching.md#b` are not the same place",
            ),
        ] {
            assert_eq!(problems("docs/a.md", text), [expected], "{text}");
        }
        let [missing, undefined] = &problems("docs/a.md", "[a][none.md]\n[none.md]: none.md")[..] else {
            panic!("two problems");
        };
        assert_eq!(missing, "`none.md` does not exist");
        assert_eq!(undefined, "src/docs/links.md does not define `none.md`");
    }
}
