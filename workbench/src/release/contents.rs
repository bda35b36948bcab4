//! What belongs into a package.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::archive::{Entry, Packed};
use crate::test::output_of;

/// What every package has, and its reader looks for. A licence has to be in each: a crate is passed on without the others.
const NEEDED: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// What cargo adds.
const OF_CARGO: [&str; 4] = [".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml", "Cargo.toml.orig"];

/// Of the rest, a package has what compiles, the pages that docs.rs shows, the schemas that it brings, and examples. Its tests stay in the repository: they need crates
/// that are not published.
const DIRECTORIES: [&str; 4] = ["docs", "examples", "schema", "src"];

/// What a crate's repository has of these has to be in its package. Of examples only those, because some are crates of their own.
const COMPLETE: [&str; 2] = ["schema", "src"];

/// No source is longer: a longer file got in by accident. In bytes.
const LONGEST_FILE: u64 = 256 << 10;

/// Compressed, in bytes. The longest package has some 220 KB; everybody who compiles us downloads it.
const LONGEST_PACKAGE: u64 = 512 << 10;

/// Returns what of `packed` should not be there, and what is missing.
pub(super) fn check(packed: &Packed) -> Result<Vec<String>> {
    let mut list = Command::new("git");
    let tracked = output_of(list.args(["ls-files", "-z"]).current_dir(&packed.sources), "git ls-files")?;
    let tracked = tracked.split('\0').filter(|path| !path.is_empty()).collect();
    Ok(problems(&packed.entries, packed.bytes, &tracked))
}

/// `tracked` is what git has of the crate.
fn problems(entries: &[Entry], bytes: u64, tracked: &BTreeSet<&str>) -> Vec<String> {
    let packed: BTreeSet<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
    let wanted = tracked.iter().copied().filter(|path| is_in(path, &COMPLETE) && !is_of_tests(path));
    let missing: BTreeSet<_> = wanted.chain(NEEDED).filter(|path| !packed.contains(path)).collect();
    let missing = missing.into_iter().map(|path| format!("{path} is missing"));
    let wrong = entries.iter().filter_map(|entry| {
        let Entry { path, bytes, is_file } = entry;
        if !belongs(path) {
            Some(format!("{path} does not belong there"))
        } else if !is_file {
            Some(format!("{path} is a link"))
        } else if *bytes == 0 {
            Some(format!("{path} is empty"))
        } else if *bytes > LONGEST_FILE {
            Some(format!("{path} has {bytes} bytes, more than {LONGEST_FILE}"))
        } else {
            None
        }
    });
    let whole = (bytes > LONGEST_PACKAGE).then(|| format!("{bytes} bytes are more than {LONGEST_PACKAGE}"));
    missing.chain(wrong).chain(whole).collect()
}

fn belongs(path: &str) -> bool {
    OF_CARGO.contains(&path)
        || NEEDED.contains(&path)
        || path == "CHANGELOG.md"
        || (is_in(path, &DIRECTORIES) && !is_of_tests(path))
}

fn is_in(path: &str, directories: &[&str]) -> bool {
    path.split_once('/').is_some_and(|(directory, _)| directories.contains(&directory))
}

/// A snapshot, which a test beside the code compares with.
fn is_of_tests(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "snap")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry { path: path.to_owned(), bytes: 100, is_file: true }
    }

    /// With `more`, beside what every package has, and what git has of the crate.
    fn problems_with(more: Vec<Entry>) -> Vec<String> {
        let usual = OF_CARGO.iter().chain(&NEEDED).map(|path| entry(path)).chain([entry("src/lib.rs")]);
        let tracked =
            ["src/lib.rs", "src/answer.sh", "src/snapshots/a.snap", "tests/a.rs", "examples/b/Cargo.toml"];
        problems(&usual.chain(more).collect::<Vec<_>>(), 1000, &BTreeSet::from(tracked))
    }

    fn complete() -> Vec<Entry> {
        vec![entry("src/answer.sh")]
    }

    #[test]
    fn all_sources_of_the_repository_are_in_the_package() {
        assert_eq!(problems_with(vec![]), ["src/answer.sh is missing"]);
        assert_eq!(problems_with(complete()), [] as [&str; 0]);
    }

    #[test]
    fn licences_and_readme_are_in_every_package() {
        let problems = problems(&[entry("Cargo.toml"), entry("LICENSE-MIT")], 1000, &BTreeSet::new());
        assert_eq!(problems, ["LICENSE-APACHE is missing", "README.md is missing"]);
    }

    #[test]
    fn nothing_else_is_in_the_package() {
        for path in ["tests/a.rs", "testbed/README.md", ".ci/run", "deny.toml", "src/snapshots/a.snap", "src"]
        {
            let mut entries = complete();
            entries.push(entry(path));
            assert_eq!(problems_with(entries), [format!("{path} does not belong there")]);
        }
        for path in ["CHANGELOG.md", "docs/cost.md", "examples/role.yaml", "schema/event.schema.json"] {
            let mut entries = complete();
            entries.push(entry(path));
            assert_eq!(problems_with(entries), [] as [&str; 0], "{path}");
        }
    }

    #[test]
    fn a_file_is_a_file_with_content_and_not_huge() {
        let with = |bytes, is_file| problems_with(vec![Entry { bytes, is_file, ..entry("src/answer.sh") }]);
        assert_eq!(with(100, false), ["src/answer.sh is a link"]);
        assert_eq!(with(0, true), ["src/answer.sh is empty"]);
        assert_eq!(with(LONGEST_FILE, true), [] as [&str; 0]);
        assert_eq!(with(LONGEST_FILE + 1, true).len(), 1);
    }

    #[test]
    fn a_package_is_not_huge() {
        let entries: Vec<_> = NEEDED.iter().map(|path| entry(path)).collect();
        assert_eq!(problems(&entries, LONGEST_PACKAGE, &BTreeSet::new()), [] as [&str; 0]);
        assert_eq!(problems(&entries, LONGEST_PACKAGE + 1, &BTreeSet::new()).len(), 1);
    }
}
