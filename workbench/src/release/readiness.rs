//! What whoever makes a release does before it. A dry run warns of what is not done yet.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::root;
use super::workspace::Workspace;
use crate::test::output_of;

/// What a release of `version` finds.
#[derive(Debug, Default)]
pub(super) struct Facts<'f> {
    version: &'f str,
    /// What the published crates say of where their sources are.
    repositories: Vec<Option<&'f str>>,
    changelog: String,
    /// A line for each file that is not as committed.
    changes: String,
    /// The tag of this version, if there is one.
    tag: String,
}

impl<'f> Facts<'f> {
    /// Reads the changelog and asks git.
    pub(super) fn gather(workspace: &'f Workspace, version: &'f str) -> Result<Self> {
        let git = |arguments: &[&str]| {
            output_of(
                Command::new("git").args(arguments).current_dir(root()),
                &format!("git {}", arguments[0]),
            )
        };
        Ok(Self {
            version,
            repositories: workspace.published.iter().map(|package| package.repository.as_deref()).collect(),
            changelog: fs::read_to_string(root().join("CHANGELOG.md")).context("reading CHANGELOG.md")?,
            changes: git(&["status", "--porcelain"])?,
            tag: git(&["tag", "--list", &format!("v{version}")])?,
        })
    }
}

/// Returns what is still to be done before a release.
pub(super) fn unprepared(facts: &Facts<'_>) -> Vec<String> {
    let Facts { version, repositories, changelog, changes, tag } = facts;
    let is_address =
        |repository: Option<&str>| repository.is_some_and(|repository| repository.starts_with("https://"));
    let mut problems = Vec::new();
    if !repositories.iter().copied().all(is_address) {
        problems.push(
            "`repository` is not an https address: set it in [workspace.package] of Cargo.toml to where the sources are"
                .to_owned(),
        );
    }
    if !changelog.lines().any(|line| is_heading_of(line, version)) {
        problems.push(format!(
            "CHANGELOG.md does not tell what is new: change the heading `## Unreleased` to `## {version}`, with the date"
        ));
    }
    if !changes.trim().is_empty() {
        let files = changes.lines().count();
        problems.push(format!("{files} files are not as committed: commit them, or remove them"));
    }
    if !tag.trim().is_empty() {
        problems.push(format!(
            "the tag v{version} is there already: raise `version` in [workspace.package] and the pins in \
             [workspace.dependencies] of Cargo.toml"
        ));
    }
    problems
}

/// Keep a Changelog writes `## [1.0.0] - 2026-12-01`, with or without brackets and date.
fn is_heading_of(line: &str, version: &str) -> bool {
    let heading = line.strip_prefix("## ").and_then(|heading| heading.split_whitespace().next());
    heading.is_some_and(|heading| heading.trim_start_matches('[').trim_end_matches(']') == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared() -> Facts<'static> {
        Facts {
            version: "0.1.0",
            repositories: vec![Some("https://git.example/garden-build"); 2],
            changelog: "# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-12-01\n\n* All of it.\n".to_owned(),
            ..Facts::default()
        }
    }

    #[test]
    fn a_release_that_is_prepared_has_nothing_to_do() {
        assert_eq!(unprepared(&prepared()), [] as [&str; 0]);
    }

    #[test]
    fn a_release_needs_the_address_of_the_sources_for_each_crate() {
        for repository in [None, Some(""), Some("git@git.example:garden-build")] {
            let facts = Facts {
                repositories: vec![Some("https://git.example/garden-build"), repository],
                ..prepared()
            };
            let problems = unprepared(&facts);
            assert!(matches!(&problems[..], [one] if one.starts_with("`repository`")), "{problems:?}");
        }
    }

    #[test]
    fn a_release_needs_its_part_of_the_changelog() {
        for changelog in ["## Unreleased\n", "## 0.1.0-rc.1\n", "### 0.1.0\n", "since 0.1.0\n", "## 0.1.00\n"]
        {
            let problems = unprepared(&Facts { changelog: changelog.to_owned(), ..prepared() });
            assert!(
                matches!(&problems[..], [one] if one.starts_with("CHANGELOG.md")),
                "{changelog}: {problems:?}"
            );
        }
        let changelog = "## [0.1.0] - 2026-12-01\n".to_owned();
        assert_eq!(unprepared(&Facts { changelog, ..prepared() }), [] as [&str; 0]);
    }

    #[test]
    fn a_release_is_made_of_what_is_committed_and_once() {
        let changes = " M README.md\n?? notes\n".to_owned();
        assert_eq!(
            unprepared(&Facts { changes, ..prepared() }),
            ["2 files are not as committed: commit them, or remove them"]
        );
        let problems = unprepared(&Facts { tag: "v0.1.0\n".to_owned(), ..prepared() });
        assert!(matches!(&problems[..], [one] if one.starts_with("the tag v0.1.0 is there")), "{problems:?}");
    }
}
