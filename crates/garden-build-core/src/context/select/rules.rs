//! The patterns of an ignore file, and which ignore file counts.

use super::ignore_file;
use super::pattern::Pattern;
use super::sieve::Filter;
use crate::context::read::read_text;
use crate::context::{ContextError, OpenDirectory};

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

    /// Reads the rules for a build with the Dockerfile at `dockerfile`: from `<dockerfile>.dockerignore`
    /// beside it, else from `.dockerignore` in the context directory, else there are none.
    ///
    /// The two are not merged, and the first counts even if it is empty, as in `BuildKit`.
    pub(in crate::context) fn of_dockerfile(
        root: &OpenDirectory,
        dockerfile: &str,
    ) -> Result<Self, ContextError> {
        match Self::read(root, &format!("{dockerfile}.dockerignore"))? {
            Some(rules) => Ok(rules),
            None => Self::of_directory(root),
        }
    }

    /// Reads the rules for a directory without a Dockerfile.
    pub(in crate::context) fn of_directory(root: &OpenDirectory) -> Result<Self, ContextError> {
        Ok(Self::read(root, ".dockerignore")?.unwrap_or_default())
    }

    fn read(root: &OpenDirectory, file: &str) -> Result<Option<Self>, ContextError> {
        read_text(root, file.as_ref(), file)?.map(|text| Self::parse(file, &text)).transpose()
    }

    /// Returns the entries of `tree` that are kept. The tree is a list of slash-separated paths,
    /// each with whether it is a directory; a directory precedes what is in it.
    pub fn kept<'p>(&self, tree: impl IntoIterator<Item = (&'p str, bool)>) -> Vec<&'p str> {
        let kept = self.filter.select(tree, |(path, is_directory)| (path.as_bytes(), *is_directory));
        kept.into_iter().map(|(path, _)| path).collect()
    }

    pub(super) fn into_filter(self) -> Filter {
        self.filter
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn kept(directory: &tempfile::TempDir, dockerfile: &str) -> Vec<&'static str> {
        let root = OpenDirectory::open(directory.path()).expect("exists");
        IgnoreRules::of_dockerfile(&root, dockerfile).expect("rules").kept([("a", false), ("b", false)])
    }

    #[test]
    fn the_ignore_file_beside_the_dockerfile_replaces_the_general_one() {
        let directory = tempfile::tempdir().expect("temporary directory");
        for (path, text) in [
            (".dockerignore", "a"),
            ("api.Dockerfile.dockerignore", "b"),
            ("empty.Dockerfile.dockerignore", ""),
        ] {
            fs::write(directory.path().join(path), text).expect("file");
        }
        assert_eq!(kept(&directory, "Dockerfile"), ["b"]);
        assert_eq!(kept(&directory, "api.Dockerfile"), ["a"]);
        assert_eq!(kept(&directory, "empty.Dockerfile"), ["a", "b"]);
    }
}
