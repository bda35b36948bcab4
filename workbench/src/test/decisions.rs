//! Whether each decision is found by whoever reads the code that it explains, and by whoever reads the map.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::scripts::files;

const DIRECTORY: &str = "docs/decisions/";
const INDEX: &str = "ARCHITECTURE.md";

pub(super) fn check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
    let texts = |patterns: &[&str]| -> Result<BTreeMap<String, String>> {
        let read = |file: &std::path::PathBuf| {
            let name = file.strip_prefix(root)?.to_string_lossy().into_owned();
            Ok((name, fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?))
        };
        files(patterns)?.iter().map(read).collect()
    };
    let mut decisions = texts(&["docs/decisions/*.md"])?;
    decisions.remove(&format!("{DIRECTORY}README.md"));
    if decisions.is_empty() {
        bail!("git lists no decisions");
    }
    let sources = texts(&["*.rs", "*.sh", "*.pest"])?;
    let index = fs::read_to_string(root.join(INDEX)).context("reading the index of decisions")?;
    let problems = problems(&decisions, &index, &sources);
    if !problems.is_empty() {
        bail!("decisions and code do not refer to each other:\n  {}", problems.join("\n  "));
    }
    println!("{} decisions, each with an index entry and code that names it", decisions.len());
    Ok(())
}

/// What is wrong, one line for each. `decisions` and `sources` are texts by their paths.
fn problems(
    decisions: &BTreeMap<String, String>,
    index: &str,
    sources: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let references: BTreeSet<_> = sources
        .iter()
        .flat_map(|(source, text)| references(text).map(move |decision| (source.as_str(), decision)))
        .collect();
    for (source, decision) in &references {
        if !decisions.contains_key(*decision) {
            problems.push(format!("{source} names {decision}, which does not exist"));
        }
    }
    for (decision, text) in decisions {
        if !index.contains(&format!("]({decision})")) {
            problems.push(format!("{decision} is not in the index of {INDEX}"));
        }
        let explained: BTreeSet<_> = explained(text).collect();
        if explained.is_empty() {
            problems.push(format!("{decision} names no file under `**Code.**`"));
        }
        for source in &explained {
            if !references.contains(&(*source, decision.as_str())) {
                problems.push(format!("{source} has no line `Why: {decision}`"));
            }
        }
        let others =
            references.iter().filter(|(source, named)| named == decision && !explained.contains(source));
        problems
            .extend(others.map(|(source, _)| format!("{decision} does not name {source} under `**Code.**`")));
    }
    problems
}

/// The decisions that comments of a source file refer to.
fn references(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let (before, decision) = line.split_once("Why: ")?;
        let comment = matches!(before.trim(), "//" | "//!" | "///" | "#");
        (comment && decision.starts_with(DIRECTORY)).then(|| decision.trim_end())
    })
}

/// The files that a decision names under its last heading.
fn explained(decision: &str) -> impl Iterator<Item = &str> {
    let code = decision.rsplit_once("**Code.**").map_or("", |(_, code)| code);
    code.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_to_go_both_ways() {
        let map = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
            entries.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        let decisions = map(&[
            ("docs/decisions/01-a.md", "# 1. A\n\n**Code.** `src/a.rs`, `src/b.rs`\n"),
            ("docs/decisions/02-b.md", "# 2. B\n"),
        ]);
        let sources = map(&[
            ("src/a.rs", "//! A.\n//!\n//! Why: docs/decisions/01-a.md\n"),
            ("src/b.rs", "    // Why: docs/decisions/03-c.md\n"),
            ("src/c.rs", "// Why: docs/decisions/01-a.md\nlet text = \"Why: docs/decisions/04-d.md\";\n"),
        ]);
        assert_eq!(
            problems(&decisions, "[A](docs/decisions/01-a.md)", &sources),
            [
                "src/b.rs names docs/decisions/03-c.md, which does not exist",
                "src/b.rs has no line `Why: docs/decisions/01-a.md`",
                "docs/decisions/01-a.md does not name src/c.rs under `**Code.**`",
                "docs/decisions/02-b.md is not in the index of ARCHITECTURE.md",
                "docs/decisions/02-b.md names no file under `**Code.**`",
            ]
        );
        let sources = map(&[
            ("src/a.rs", "// Why: docs/decisions/01-a.md\n"),
            ("src/b.rs", "# Why: docs/decisions/01-a.md\n"),
        ]);
        let one = map(&[("docs/decisions/01-a.md", "**Code.** `src/a.rs`, `src/b.rs`\n")]);
        assert_eq!(problems(&one, "[A](docs/decisions/01-a.md)", &sources), [""; 0]);
    }
}
