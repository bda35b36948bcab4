//! Which entries of a tree patterns keep, as `BuildKit` walks it.
//!
//! The oracle is the filter walk of `github.com/tonistiigi/fsutil` (`filter.go`) at the version that
//! `BuildKit` v0.26 uses. It differs from what the classic `docker build` did: a directory that is
//! excluded is still searched if a `!` pattern may match below it, and appears in the result as soon as
//! something below it does. The same holds for a directory that is not included.

use super::PatternProblem;
use super::pattern::Pattern;

/// What of a tree is wanted: whatever is included, and is not excluded.
///
/// ```
/// use garden_build_core::context::Filter;
///
/// let filter = Filter::new(&["src".to_owned()], &["**/*.o".to_owned()])?;
/// let tree = [("doc", true), ("doc/a", false), ("src", true), ("src/a.c", false), ("src/a.o", false)];
/// let kept = filter.select(tree, |(path, is_directory)| (path.as_bytes(), *is_directory));
/// assert_eq!(kept, [("src", true), ("src/a.c", false)]);
/// # Ok::<(), garden_build_core::context::FilterError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Without a list, everything is included.
    include: Option<Patterns>,
    exclude: Patterns,
}

/// A pattern of a [`Filter`] that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the pattern `{pattern}` cannot be used: {problem}")]
pub struct FilterError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: PatternProblem,
}

impl Filter {
    /// Keeps what `include` matches (everything if it is empty), except what `exclude` matches. In
    /// both lists a later pattern with a `!` takes back what earlier ones match.
    ///
    /// # Errors
    /// If `BuildKit` would refuse a pattern, or would take one for something that is
    /// [`Unsupported`](PatternProblem::Unsupported).
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, FilterError> {
        let include = if include.is_empty() { None } else { Some(Patterns::compile(include)?) };
        Ok(Self { include, exclude: Patterns::compile(exclude)? })
    }

    pub(super) fn excluding(patterns: Vec<Pattern>) -> Self {
        Self { include: None, exclude: Patterns(patterns) }
    }

    pub(super) fn including(self, patterns: Vec<Pattern>) -> Self {
        Self { include: Some(Patterns(patterns)), ..self }
    }

    /// Returns the entries of `tree` that are kept. `describe` tells the slash-separated path of an
    /// entry and whether it is a directory; a directory directly precedes what is in it.
    pub fn select<T>(
        &self,
        tree: impl IntoIterator<Item = T>,
        describe: impl for<'t> Fn(&'t T) -> (&'t [u8], bool),
    ) -> Vec<T> {
        let mut sieve = Sieve::new(self);
        let mut kept = Vec::new();
        let mut pruned: Option<Vec<u8>> = None;
        for entry in tree {
            let (path, is_directory) = describe(&entry);
            if pruned.as_ref().is_some_and(|pruned| path.starts_with(pruned)) {
                continue;
            }
            pruned = None;
            let verdict = sieve.sift(path, is_directory);
            let directory = is_directory.then(|| path.to_vec());
            match (verdict, directory) {
                (Verdict::Keep, directory) => sieve.keep(directory.as_deref(), entry, &mut kept),
                (Verdict::Search, Some(directory)) => sieve.search(&directory, entry),
                (_, directory) => pruned = directory.map(|directory| below(&directory)),
            }
        }
        kept
    }
}

#[derive(Clone, Debug, Default)]
struct Patterns(Vec<Pattern>);

impl Patterns {
    fn compile(patterns: &[String]) -> Result<Self, FilterError> {
        let compiled = patterns.iter().filter_map(|pattern| {
            let failed = |problem| FilterError { pattern: pattern.clone(), problem };
            Pattern::compile(pattern).map_err(failed).transpose()
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a pattern, out of those that are an exception or out of the others, may match
    /// something below `directory`.
    fn may_match_below(&self, directory: &[u8], exceptions: bool) -> bool {
        let mut candidates = self.0.iter().filter(|pattern| pattern.is_exception == exceptions);
        candidates.any(|pattern| {
            pattern.literal_prefix().is_none_or(|prefix| {
                let rest = prefix.as_bytes().strip_prefix(directory);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            })
        })
    }
}

/// Those patterns of a list that can matter to what is directly in one directory, which are few of them.
#[derive(Clone, Debug)]
struct Local<'f> {
    all: &'f Patterns,
    /// Each with whether it matches the directory or one above it.
    relevant: Box<[(&'f Pattern, bool)]>,
}

impl<'f> Local<'f> {
    /// Selects from `all` for the directory at `prefix`, which ends in a slash or is empty.
    fn new(all: &'f Patterns, prefix: &[u8], mut matches_directory: impl FnMut(&Pattern) -> bool) -> Self {
        let relevant = all.0.iter().filter_map(|pattern| {
            let matches = matches_directory(pattern);
            (matches || pattern.may_match_in(prefix)).then_some((pattern, matches))
        });
        Self { all, relevant: relevant.collect() }
    }

    /// Whether the list as a whole matches `path`. Hands each pattern to `each` that matches the path or
    /// one of its parents.
    fn matches(&self, path: &[u8], mut each: impl FnMut(&'f Pattern)) -> bool {
        let mut result = false;
        for (pattern, matches_parent) in &self.relevant {
            // A pattern that could change nothing is not asked, and counts as not matching for what
            // lies below. This is observable, so it is not a mere shortcut.
            if *matches_parent || (pattern.is_exception == result && pattern.matches(path)) {
                result = !pattern.is_exception;
                each(pattern);
            }
        }
        result
    }

    /// Returns what matters in the directory `path`, whose prefix is `prefix`.
    fn enter(&self, path: &[u8], prefix: &[u8]) -> Self {
        let mut matched = Vec::new();
        self.matches(path, |pattern| matched.push(pattern));
        let mut matched = matched.into_iter().peekable();
        Self::new(self.all, prefix, |pattern| matched.next_if(|next| std::ptr::eq(*next, pattern)).is_some())
    }
}

/// What a [`Sieve`] decides about an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The entry is kept. A directory is searched.
    Keep,
    /// The directory is not kept for itself, but something in it may be.
    Search,
    /// The entry is dropped with everything in it.
    Drop,
}

impl Verdict {
    /// What follows for an entry about which `other` was decided as well.
    pub(in crate::context) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Drop, _) | (_, Self::Drop) => Self::Drop,
            (Self::Search, _) | (_, Self::Search) => Self::Search,
            (Self::Keep, Self::Keep) => Self::Keep,
        }
    }
}

/// What a filter decides about the entries of one directory. Depends on nothing but the patterns and the
/// directory's path, so that several threads can decide about several directories.
#[derive(Clone, Debug)]
pub(super) struct Inside<'f> {
    include: Option<Local<'f>>,
    exclude: Local<'f>,
}

impl<'f> Inside<'f> {
    /// Decides about what is in the directory at the top.
    pub(super) fn top(filter: &'f Filter) -> Self {
        let local = |patterns| Local::new(patterns, b"", |_| false);
        Self { include: filter.include.as_ref().map(local), exclude: local(&filter.exclude) }
    }

    /// Decides about what is in `directory`, an entry of this one that is kept or searched.
    pub(super) fn enter(&self, directory: &[u8]) -> Self {
        let prefix = below(directory);
        let local = |local: &Local<'f>| local.enter(directory, &prefix);
        Self { include: self.include.as_ref().map(local), exclude: local(&self.exclude) }
    }

    /// Decides about `path`.
    pub(super) fn judge(&self, path: &[u8], is_directory: bool) -> Verdict {
        let mut verdict = Verdict::Keep;
        if let Some(include) = &self.include
            && !include.matches(path, |_| ())
        {
            if !is_directory || !include.all.may_match_below(path, false) {
                return Verdict::Drop;
            }
            verdict = Verdict::Search;
        }
        if self.exclude.matches(path, |_| ()) {
            if !is_directory || !self.exclude.all.may_match_below(path, true) {
                return Verdict::Drop;
            }
            verdict = Verdict::Search;
        }
        verdict
    }
}

/// Decides about the entries of a walk one by one, and remembers the directories above.
#[derive(Debug)]
pub struct Sieve<'f, T> {
    top: Inside<'f>,
    above: Vec<Above<'f, T>>,
}

#[derive(Debug)]
struct Above<'f, T> {
    /// The directory's path and a slash.
    prefix: Vec<u8>,
    inside: Inside<'f>,
    /// What stands for the directory in the result, if it is dropped and nothing in it was kept yet.
    unsent: Option<T>,
}

impl<'f, T> Sieve<'f, T> {
    /// Begins a walk.
    pub fn new(filter: &'f Filter) -> Self {
        Self { top: Inside::top(filter), above: Vec::new() }
    }

    /// Decides about `path`. After `Keep` and `Search`, the method of that name has to be called
    /// before the next entry is sifted.
    pub fn sift(&mut self, path: &[u8], is_directory: bool) -> Verdict {
        while self.above.pop_if(|above| !path.starts_with(&above.prefix)).is_some() {}
        self.inside().judge(path, is_directory)
    }

    /// Appends `entry` to `kept`, behind those directories above it that are not there yet. The path is
    /// wanted if it is a `directory`.
    pub fn keep(&mut self, directory: Option<&[u8]>, entry: T, kept: &mut Vec<T>) {
        kept.extend(self.above.iter_mut().filter_map(|above| above.unsent.take()));
        kept.push(entry);
        if let Some(path) = directory {
            self.enter(path, None);
        }
    }

    /// Remembers `entry` for when something in the `directory` is kept.
    pub fn search(&mut self, directory: &[u8], entry: T) {
        self.enter(directory, Some(entry));
    }

    fn inside(&self) -> &Inside<'f> {
        self.above.last().map_or(&self.top, |above| &above.inside)
    }

    fn enter(&mut self, path: &[u8], unsent: Option<T>) {
        let inside = self.inside().enter(path);
        self.above.push(Above { prefix: below(path), inside, unsent });
    }
}

/// What the paths of everything in `directory` begin with.
fn below(directory: &[u8]) -> Vec<u8> {
    [directory, b"/"].concat()
}

#[cfg(test)]
mod tests {
    use super::super::IgnoreRules;
    use super::*;

    fn verdict(lines: &str, directory: &str) -> Verdict {
        let rules = IgnoreRules::parse(".dockerignore", lines.as_bytes()).expect(lines);
        Sieve::<()>::new(&rules.into_filter()).sift(directory.as_bytes(), true)
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

    #[test]
    fn what_is_not_included_is_searched_only_if_something_in_it_may_be() {
        let tree = [
            ("a", true),
            ("a/b", true),
            ("a/b/c", false),
            ("a/x", false),
            ("b", true),
            ("b/c", false),
            ("d", false),
        ];
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
        for (include, exclude, expected) in [
            (&["a/b/c"][..], &[][..], &["a", "a/b", "a/b/c"][..]),
            (&["**/c"], &[], &["a", "a/b", "a/b/c", "b", "b/c"]),
            (&["**/c"], &["a"], &["b", "b/c"]),
            (&["a", "!a/b"], &[], &["a", "a/x"]),
            (&["*"], &["*", "!d"], &["d"]),
            (&["nothing"], &[], &[]),
            (&[" "], &[], &[]),
            (&[], &["b", "a/*"], &["a", "d"]),
        ] {
            let filter = Filter::new(&texts(include), &texts(exclude)).expect("filter");
            let kept = filter.select(tree, |(path, is_directory)| (path.as_bytes(), *is_directory));
            let kept: Vec<&str> = kept.into_iter().map(|(path, _)| path).collect();
            assert_eq!(kept, expected, "{include:?} {exclude:?}");
        }
        let error = Filter::new(&texts(&["a", "["]), &[]).expect_err("malformed");
        assert_eq!(error.pattern, "[");
    }
}
