//! Which entries of a tree the patterns keep, as `BuildKit` walks it.
//!
//! The oracle is the filter walk of `github.com/tonistiigi/fsutil` at the version that `BuildKit`
//! v0.26 uses. It differs from what the classic `docker build` did: a directory that is excluded is
//! still searched if a `!` pattern may match below it, and appears in the result as soon as
//! something below it does.

use super::pattern::Pattern;
use super::{ContextError, ignore_file};

/// The patterns of one ignore file.
///
/// ```
/// use garden_build_core::context::IgnoreRules;
///
/// let rules = IgnoreRules::parse(".dockerignore", b"target\n!target/release/api\n").unwrap();
/// let tree = [("src", true), ("src/main.rs", false), ("target", true), ("target/debug", true),
///     ("target/release", true), ("target/release/api", false), ("target/release/deps", true)];
/// let kept = rules.kept(tree);
/// assert_eq!(kept, ["src", "src/main.rs", "target", "target/release", "target/release/api"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
}

impl IgnoreRules {
    /// Reads the `text` of the ignore file called `file`, a name for messages.
    ///
    /// # Errors
    /// If `BuildKit` would refuse a line, or would take one for something that is
    /// [`Unsupported`](super::PatternProblem::Unsupported).
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, ContextError> {
        let mut patterns = Vec::new();
        for line in ignore_file::patterns(file, text)? {
            match Pattern::compile(&line.pattern) {
                Ok(pattern) => patterns.extend(pattern),
                Err(problem) => {
                    let (file, line, pattern) = (file.to_owned(), line.number, line.pattern);
                    return Err(ContextError::Pattern { file, line, pattern, problem });
                }
            }
        }
        Ok(Self { patterns })
    }

    /// Returns the entries of `tree` that are kept. The tree is a list of slash-separated paths,
    /// each with whether it is a directory; a directory precedes what is in it.
    pub fn kept<'p>(&self, tree: impl IntoIterator<Item = (&'p str, bool)>) -> Vec<&'p str> {
        let mut sieve = Sieve::new(self);
        let mut kept = Vec::new();
        let mut pruned: Option<String> = None;
        for (path, is_directory) in tree {
            if pruned.as_ref().is_some_and(|pruned| path.starts_with(pruned.as_str())) {
                continue;
            }
            let descend = match sieve.sift(path, is_directory) {
                Verdict::Keep => {
                    sieve.keep(path, is_directory, path, &mut kept);
                    true
                }
                Verdict::Search => {
                    sieve.search(path, path);
                    true
                }
                Verdict::Drop => false,
            };
            pruned = (is_directory && !descend).then(|| format!("{path}/"));
        }
        kept
    }

    /// Decides about `path`, given which patterns match its parent. Returns whether it is excluded,
    /// and which patterns match it or one of its parents.
    fn excludes(&self, path: &str, parent: Option<&[bool]>) -> (bool, Vec<bool>) {
        let mut excluded = false;
        let mut matched = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            // A pattern that could change nothing is not asked, and counts as not matching for what
            // lies below. This is observable, so it is not a mere shortcut.
            matched[index] = parent.is_some_and(|parent| parent[index])
                || (pattern.includes == excluded && pattern.matches(path));
            if matched[index] {
                excluded = !pattern.includes;
            }
        }
        (excluded, matched)
    }

    /// Whether a `!` pattern may match something below the excluded `directory`.
    fn may_include_below(&self, directory: &str) -> bool {
        let mut includes = self.patterns.iter().filter(|pattern| pattern.includes).peekable();
        if includes.peek().is_none() {
            return false;
        }
        let prefixes: Option<Vec<&str>> = includes.map(Pattern::literal_prefix).collect();
        prefixes.is_none_or(|prefixes| {
            prefixes.iter().any(|prefix| {
                prefix.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        })
    }
}

/// What a [`Sieve`] decides about an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The entry is kept. A directory is searched.
    Keep,
    /// The directory is excluded, but something in it may be kept.
    Search,
    /// The entry is excluded with everything in it.
    Drop,
}

/// Decides about the entries of a walk one by one, and remembers the directories above.
#[derive(Debug)]
pub(super) struct Sieve<'r, T> {
    rules: &'r IgnoreRules,
    above: Vec<Above<T>>,
    /// What the last decision was based on, for [`keep`](Self::keep) and [`search`](Self::search).
    matched: Vec<bool>,
}

#[derive(Debug)]
struct Above<T> {
    /// The directory's path and a slash.
    prefix: String,
    matched: Vec<bool>,
    /// What stands for the directory in the result, if it is excluded and nothing in it was kept yet.
    unsent: Option<T>,
}

impl<'r, T> Sieve<'r, T> {
    pub(super) fn new(rules: &'r IgnoreRules) -> Self {
        Self { rules, above: Vec::new(), matched: Vec::new() }
    }

    /// Decides about `path`. After `Keep` and `Search`, the method of that name has to be called
    /// before the next entry is sifted.
    pub(super) fn sift(&mut self, path: &str, is_directory: bool) -> Verdict {
        while self.above.pop_if(|above| !path.starts_with(&above.prefix)).is_some() {}
        let parent = self.above.last().map(|above| above.matched.as_slice());
        let (excluded, matched) = self.rules.excludes(path, parent);
        self.matched = matched;
        match excluded {
            false => Verdict::Keep,
            true if is_directory && self.rules.may_include_below(path) => Verdict::Search,
            true => Verdict::Drop,
        }
    }

    /// Appends `entry` to `kept`, behind those directories above it that are not there yet.
    pub(super) fn keep(&mut self, path: &str, is_directory: bool, entry: T, kept: &mut Vec<T>) {
        kept.extend(self.above.iter_mut().filter_map(|above| above.unsent.take()));
        kept.push(entry);
        if is_directory {
            self.enter(path, None);
        }
    }

    /// Remembers `entry` for when something in the directory is kept.
    pub(super) fn search(&mut self, path: &str, entry: T) {
        self.enter(path, Some(entry));
    }

    fn enter(&mut self, path: &str, unsent: Option<T>) {
        let matched = std::mem::take(&mut self.matched);
        self.above.push(Above { prefix: format!("{path}/"), matched, unsent });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &str, directory: &str) -> Verdict {
        let rules = IgnoreRules::parse(".dockerignore", lines.as_bytes()).expect(lines);
        Sieve::<()>::new(&rules).sift(directory, true)
    }

    #[test]
    fn an_excluded_directory_is_searched_only_if_something_in_it_may_be_kept() {
        for (lines, directory, expected) in [
            ("a", "b", Verdict::Keep),
            ("a", "a", Verdict::Drop),
            ("*\n!a/b/c", "a", Verdict::Search),
            ("*\n!a/b/c", "b", Verdict::Drop),
            ("*\n!a-b", "a", Verdict::Drop),
            ("*\n!a/b/**", "a", Verdict::Search),
            ("*\n!a/b/*", "c", Verdict::Drop),
            // A wildcard before the end may match anywhere, as far as BuildKit can tell.
            ("*\n!a/*.c", "b", Verdict::Search),
            ("!a/b\n*", "a", Verdict::Search),
        ] {
            assert_eq!(verdict(lines, directory), expected, "{directory} under {lines:?}");
        }
    }

    #[test]
    fn a_directory_is_listed_once_however_much_of_it_is_kept() {
        let rules = IgnoreRules::parse(".dockerignore", b"*\n!a/b/c\n!a/d").expect("rules");
        let tree =
            [("a", true), ("a/b", true), ("a/b/c", false), ("a/b/x", false), ("a/d", false), ("a/e", true)];
        assert_eq!(rules.kept(tree), ["a", "a/b", "a/b/c", "a/d"]);
    }
}
