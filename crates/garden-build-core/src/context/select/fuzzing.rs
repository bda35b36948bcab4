//! Ignore files that came with somebody else's repository.

use std::collections::BTreeSet;
use std::path::Path;

use ignore::gitignore::GitignoreBuilder;

use super::pattern::{Pattern, line_for};
use super::wishes::Wishes;
use super::{IgnoreRules, Verdict, git_ignore, ignore_file};

/// Stands alone in the line between the patterns and the paths that they are tried on.
const SEPARATOR: &str = "\n%%\n";

/// Paths to try patterns on, if there are no others.
const PATHS: &str = "a\na/b.c/d\na-b\nnode_modules/x/y.js\ntarget\n.git/HEAD\n[a]\n*\ncaf\u{e9}/\u{fffd}";

/// So many paths are tried, each of at most so many bytes. The model asks every pattern about each path and all that is above it.
const MOST_PATHS: usize = 24;
const LONGEST_PATH: usize = 128;

/// Reads a `.dockerignore` and asks what it keeps of a tree. The answer has to be that of a model which takes no short cuts, and a
/// line that is written for a path has to match it.
///
/// # Panics
/// If it is not so.
pub fn ignore_patterns(data: &[u8]) {
    let (patterns, tree) = split(data);
    for (path, _) in &tree {
        let line = line_for(path.as_bytes());
        let matches = compiled(&line).iter().any(|pattern| pattern.matches(path.as_bytes()));
        assert!(matches, "{line:?} does not match {path:?}");
    }
    let Ok(rules) = IgnoreRules::parse("file", patterns.as_bytes()) else { return };
    let lines = ignore_file::patterns("file", patterns.as_bytes()).expect("read before");
    let kept = rules.kept(tree.iter().map(|(path, is_directory)| (path.as_str(), *is_directory)));
    assert_eq!(kept, kept_by_model(&compiled(&patterns), &tree), "by {patterns:?}");
    // The same patterns as sources of COPY: what is read by its own name is kept.
    let mut wishes = Wishes::default();
    let accepted = lines.iter().filter(|line| wishes.add(&line.pattern).is_ok());
    let names: Vec<&str> =
        accepted.map(|line| line.pattern.as_str()).filter(|name| !name.contains(['*', '?', '['])).collect();
    for name in names {
        assert_eq!(wishes.verdict(name.as_bytes()), Verdict::Keep, "{name:?}");
    }
}

/// Reads an ignore file in git's syntax and asks what it ignores.
///
/// # Panics
/// If a line that is a name and not a pattern does not ignore that name.
pub fn git_ignore(data: &[u8]) {
    let (patterns, tree) = split(data);
    let Ok(lines) = ignore_file::lines("file", patterns.as_bytes()) else { return };
    let mut builder = GitignoreBuilder::new("/nowhere");
    builder.allow_unclosed_class(false);
    for (_, line) in &lines {
        if let Err(problem) = git_ignore::add(&mut builder, line) {
            assert!(!problem.is_empty());
        }
    }
    let Ok(matcher) = builder.build() else { return };
    for (path, is_directory) in &tree {
        let verdict = matcher.matched(Path::new("/nowhere").join(path), *is_directory);
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        // Unless a later line takes it back.
        if is_plain && lines.iter().any(|(_, line)| *line == name) && !patterns.contains('!') {
            assert!(verdict.is_ignore(), "{path:?} by {patterns:?}");
        }
    }
}

/// Returns patterns, and a tree in the order of a walk: each path with whether it is a directory.
fn split(data: &[u8]) -> (String, Vec<(String, bool)>) {
    let text = String::from_utf8_lossy(data).into_owned();
    let (patterns, paths) = text.split_once(SEPARATOR).unwrap_or((&text, PATHS));
    let mut tree: BTreeSet<Vec<&str>> = BTreeSet::new();
    for path in paths.lines().filter(|path| path.len() <= LONGEST_PATH).take(MOST_PATHS) {
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
        tree.extend((1..=parts.len()).map(|end| parts[..end].to_vec()));
    }
    let is_directory =
        |path: &Vec<&str>| tree.iter().any(|other| other.len() > path.len() && other.starts_with(path));
    let tree = tree.iter().map(|path| (path.join("/"), is_directory(path))).collect();
    (patterns.to_owned(), tree)
}

/// The patterns of a file that can be read.
fn compiled(text: &str) -> Vec<Pattern> {
    let lines = ignore_file::patterns("file", text.as_bytes()).expect("lines of text");
    lines.iter().filter_map(|line| Pattern::compile(&line.pattern).expect("a pattern")).collect()
}

/// Every entry that is not excluded, and what is above such entries.
fn kept_by_model<'t>(patterns: &[Pattern], tree: &'t [(String, bool)]) -> Vec<&'t str> {
    let stays = |path: &str| !status(patterns, path).1;
    let holds =
        |path: &str| tree.iter().any(|(other, _)| other.starts_with(&format!("{path}/")) && stays(other));
    let paths = tree.iter().map(|(path, _)| path.as_str());
    paths.filter(|path| stays(path) || holds(path)).collect()
}

/// Which patterns match `path` or were found to match what is above it, and whether it is excluded.
fn status(patterns: &[Pattern], path: &str) -> (Vec<bool>, bool) {
    let mut matched = vec![false; patterns.len()];
    let mut excluded = false;
    for end in path.match_indices('/').map(|(slash, _)| slash).chain([path.len()]) {
        excluded = false;
        for (pattern, matched) in patterns.iter().zip(&mut matched) {
            *matched =
                *matched || (pattern.is_exception == excluded && pattern.matches(&path.as_bytes()[..end]));
            if *matched {
                excluded = !pattern.is_exception;
            }
        }
    }
    (matched, excluded)
}

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("ignore_patterns", ignore_patterns);
    garden_test_programs::run_seeds("git_ignore", git_ignore);
}
