//! The patterns of an ignore file.

use super::pattern::Pattern;
use super::sieve::Filter;
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
    filter: Filter,
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
        Ok(Self { filter: Filter::excluding(patterns) })
    }

    /// Returns the entries of `tree` that are kept. The tree is a list of slash-separated paths,
    /// each with whether it is a directory; a directory precedes what is in it.
    pub fn kept<'p>(&self, tree: impl IntoIterator<Item = (&'p str, bool)>) -> Vec<&'p str> {
        let kept = self.filter.select(tree, |(path, is_directory)| (*path, *is_directory));
        kept.into_iter().map(|(path, _)| path).collect()
    }

    pub(super) fn into_filter(self) -> Filter {
        self.filter
    }
}
