//! What pages say of the code, where it can be checked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::scripts::files;

/// The pages whose footnotes name the tests that prove what they promise.
const PAGES: [&str; 2] = ["docs/promises.md", "docs/who-can-do-what.md"];

/// Fails if a page names a test that does not exist.
pub(super) fn check() -> Result<()> {
    let mut functions = BTreeSet::new();
    for file in files(&["crates/**.rs", "src/**.rs", "tests/**.rs"])? {
        let source = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        functions.extend(defined(&source).map(|name| (package(&file), name.to_owned())));
    }
    for page in PAGES {
        check_page(page, &functions)?;
    }
    Ok(())
}

/// `functions` are those of the repository, each with its package.
fn check_page(name: &str, functions: &BTreeSet<(String, String)>) -> Result<()> {
    let [page] = &files(&[name])?[..] else { bail!("{name} is not in the repository") };
    let page = fs::read_to_string(page).with_context(|| format!("reading {name}"))?;
    let named = tests(&page);
    if named.is_empty() {
        bail!("{name} names no test");
    }
    println!("{name}: {} tests", named.len());
    let missing: Vec<_> = named
        .iter()
        .filter(|(package, test)| !functions.contains(&(package.clone(), last(test).to_owned())))
        .map(|(package, test)| format!("{test} of {package}"))
        .collect();
    if !missing.is_empty() {
        bail!("{name} names tests that do not exist: {}", missing.join(", "));
    }
    Ok(())
}

/// The tests that footnotes name, each with its package: what has `::` in it, after the name of a package.
fn tests(page: &str) -> Vec<(String, String)> {
    let mut tests = Vec::new();
    for footnote in page.lines().filter(|line| line.starts_with("[^")) {
        let mut package = "";
        for code in footnote.split('`').skip(1).step_by(2) {
            if code.contains("::") {
                tests.push((package.to_owned(), code.to_owned()));
            } else if code.starts_with("garden-") {
                package = code.split(' ').next().unwrap_or_default();
            } else {
                tests.push((package.to_owned(), code.to_owned()));
            }
        }
    }
    tests
}

/// The names of the functions that `source` defines.
fn defined(source: &str) -> impl Iterator<Item = &str> {
    source.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next())
}

/// The package that a file belongs to, by where it lies.
fn package(file: &Path) -> String {
    let mut parts = file.iter().map(|part| part.to_string_lossy()).skip_while(|part| part != "crates");
    parts.nth(1).map_or_else(|| "garden-build".to_owned(), std::borrow::Cow::into_owned)
}

fn last(test: &str) -> &str {
    test.rsplit("::").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footnotes_name_tests_with_their_packages() {
        let page = "text with `code`\n[^a]: `garden-build e2e`: `attacks::one`. `garden-registry`: `two`, `key::three`\n";
        let of = |package: &str, test: &str| (package.to_owned(), test.to_owned());
        assert_eq!(
            tests(page),
            [
                of("garden-build", "attacks::one"),
                of("garden-registry", "two"),
                of("garden-registry", "key::three")
            ]
        );
        assert_eq!(defined("async fn one() {}\nfn two<T>(").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(package(Path::new("/x/crates/garden-registry/src/a.rs")), "garden-registry");
        assert_eq!(package(Path::new("/x/tests/e2e/main.rs")), "garden-build");
    }
}
