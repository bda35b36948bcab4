//! What is wrong with globs of files, wherever a file has some.

use garden_build_core::FileGlobs;
use garden_build_core::context::GlobError;

use crate::document::issue::Issue;

/// The globs of an `include` and an `exclude`.
pub(crate) fn globs(include: Option<Vec<String>>, exclude: Vec<String>) -> FileGlobs {
    let mut globs = FileGlobs::default();
    (globs.include, globs.exclude) = (include, exclude);
    globs
}

/// Describes which of them cannot be used.
pub(crate) fn issues(globs: &FileGlobs) -> Vec<Issue> {
    let issue = |error: GlobError| {
        let hint = error.hint();
        match error {
            GlobError::Glob { field, glob, problem } => {
                Issue::new(field, format!("the glob `{glob}` {problem}"), hint)
            }
            GlobError::TooLarge { field, problem } => {
                Issue::new(field, format!("the globs cannot be used: {problem}"), hint)
            }
        }
    };
    globs.errors().into_iter().map(issue).collect()
}
