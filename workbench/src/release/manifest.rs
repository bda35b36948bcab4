//! What the manifest of a published crate has to say.

use std::ops::RangeInclusive;

use super::workspace::{Package, Workspace};

/// How many keywords and categories a crate has: crates.io takes no more of each.
const WORDS: RangeInclusive<usize> = 1..=5;
/// How long a keyword can be, in bytes.
const LONGEST_KEYWORD: usize = 20;

/// Returns what is wrong with the manifest of `package`.
pub(super) fn problems(package: &Package, workspace: &Workspace) -> Vec<String> {
    let lacks = |is_there: bool, what: &str| (!is_there).then(|| format!("{what} is missing"));
    let mut problems: Vec<_> = [
        lacks(package.description.is_some(), "`description`"),
        lacks(package.license.is_some(), "`license`"),
        lacks(package.readme.is_some(), "README.md"),
        lacks(
            WORDS.contains(&package.keywords.len())
                && package.keywords.iter().all(|keyword| keyword.len() <= LONGEST_KEYWORD),
            "a list of one to five `keywords` of at most 20 letters",
        ),
        lacks(WORDS.contains(&package.categories.len()), "a list of one to five `categories`"),
        lacks(
            package.metadata["docs"]["rs"]["all-features"] == true,
            "`all-features = true` in [package.metadata.docs.rs]",
        ),
        lacks(
            package.metadata["docs"]["rs"]["rustdoc-args"] == serde_json::json!(["--cfg", "docsrs"]),
            "`rustdoc-args = [\"--cfg\", \"docsrs\"]` in [package.metadata.docs.rs]",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    problems.extend(unpinned(package, workspace));
    problems.into_iter().map(|problem| format!("{}: {problem}", package.name)).collect()
}

/// Crates of one release fit together; those of two may not. So each takes the others in exactly its own version.
fn unpinned(package: &Package, workspace: &Workspace) -> impl Iterator<Item = String> {
    let pinned = format!("={}", package.version);
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    ours.filter(|dependency| !dependency.is_left_out()).filter_map(move |dependency| {
        let name = &dependency.name;
        if !workspace.publishes(name) {
            Some(format!(
                "the dependency `{name}` is not published: only tests may use it, without a version"
            ))
        } else if dependency.req != pinned {
            Some(format!(
                "the dependency `{name}` needs `version = \"{pinned}\"`, and has \"{}\"",
                dependency.req
            ))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::workspace::tests::needs;
    use super::*;

    fn complete(name: &str) -> Package {
        Package {
            name: name.into(),
            version: "0.1.0".into(),
            description: Some("Builds".into()),
            license: Some("MIT".into()),
            readme: Some("README.md".into()),
            keywords: vec!["kubernetes".into()],
            categories: vec!["development-tools".into()],
            metadata: json!({ "docs": { "rs": { "all-features": true, "rustdoc-args": ["--cfg", "docsrs"] } } }),
            ..Package::default()
        }
    }

    fn problems_of(change: impl Fn(&mut Package)) -> Vec<String> {
        let mut package = complete("a");
        change(&mut package);
        problems(&package, &Workspace { published: vec![complete("b")], private: ["c".to_owned()].into() })
    }

    #[test]
    fn a_complete_manifest_is_fit_for_a_release() {
        assert_eq!(problems_of(|_| {}), [] as [&str; 0]);
    }

    #[test]
    fn each_field_that_crates_io_and_docs_rs_show_is_needed() {
        assert_eq!(problems_of(|package| package.description = None), ["a: `description` is missing"]);
        assert_eq!(problems_of(|package| package.license = None).len(), 1);
        assert_eq!(problems_of(|package| package.readme = None), ["a: README.md is missing"]);
        assert_eq!(problems_of(|package| package.keywords.clear()).len(), 1);
        assert_eq!(problems_of(|package| package.keywords = vec!["k".repeat(21)]).len(), 1);
        assert_eq!(problems_of(|package| package.keywords = vec!["k".into(); 6]).len(), 1);
        assert_eq!(problems_of(|package| package.categories.clear()).len(), 1);
        assert_eq!(problems_of(|package| package.metadata = json!(null)).len(), 2);
    }

    #[test]
    fn crates_of_ours_are_pinned_to_the_version_of_the_release() {
        let problems_with =
            |dependency: fn() -> _| problems_of(|package| package.dependencies = vec![dependency()]);
        assert_eq!(problems_with(|| needs("b", "=0.1.0", None)), [] as [&str; 0]);
        assert_eq!(problems_with(|| needs("c", "*", Some("dev"))), [] as [&str; 0]);
        assert_eq!(
            problems_with(|| needs("b", "^0.1.0", None)),
            ["a: the dependency `b` needs `version = \"=0.1.0\"`, and has \"^0.1.0\""]
        );
        assert_eq!(problems_with(|| needs("b", "=0.0.9", Some("dev"))).len(), 1);
        assert_eq!(problems_with(|| needs("c", "=0.1.0", None)).len(), 1);
        assert_eq!(problems_with(|| needs("c", "*", None)).len(), 1);
    }
}
