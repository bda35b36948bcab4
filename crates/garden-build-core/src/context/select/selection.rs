//! What a request wants of its context directory.
//!
//! Why: docs/decisions/06-excludes-come-before-dockerignore.md

use super::globs::GlobFilter;
use super::pattern::Pattern;
use super::sieve::{Filter, Inside, Verdict};
use super::wanted::Wanted;
use super::{IgnoreRules, ignore_file};
use crate::context::ContextError;
use crate::{BuildRequest, IgnoreFiles};

/// What of a directory is part of the context: what the filter keeps, and nothing excludes or ignores.
///
/// The request's `exclude` has to win over any `!` of `.dockerignore`, so its patterns do not simply
/// follow those of the file in one list. In `a`, `!a/b`, `a`, the last pattern would not be asked about
/// the directory `a`, which is excluded already, and so would not be known to match what is in it.
#[derive(Debug, Default)]
pub(in crate::context) struct Selection {
    /// The request's `include`, and `.dockerignore`.
    filter: Filter,
    /// The request's `exclude`. There are no exceptions among them.
    excluded: Filter,
    /// The request's `globs`, if there are any.
    globs: Option<GlobFilter>,
    pub(in crate::context) ignore_files: Option<IgnoreFiles>,
    pub(in crate::context) preserves_permissions: bool,
    /// What the build can read.
    pub(in crate::context) wanted: Wanted,
}

impl Selection {
    /// Selects what `request` wants of a directory with the ignore file `rules`.
    pub(in crate::context) fn of(request: &BuildRequest, rules: IgnoreRules) -> Result<Self, ContextError> {
        let mut filter = rules.into_filter();
        if let Some(patterns) = &request.include {
            let patterns = patterns.iter().map(|pattern| included(pattern));
            filter = filter.including(patterns.filter_map(Result::transpose).collect::<Result<_, _>>()?);
        }
        let excluded = request.exclude.iter().map(|pattern| excluded(pattern));
        let excluded = excluded.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(Self {
            filter,
            excluded: Filter::excluding(excluded),
            globs: request.globs.is_any().then(|| GlobFilter::new(&request.globs)).transpose()?,
            ignore_files: request.ignore_files.clone(),
            preserves_permissions: request.preserve_permissions,
            wanted: Wanted::Everything,
        })
    }

    /// Selects what the ignore file `rules` leave of a directory.
    pub(in crate::context) fn by_rules(rules: IgnoreRules, preserves_permissions: bool) -> Self {
        Self { filter: rules.into_filter(), preserves_permissions, ..Self::default() }
    }

    /// Returns what decides about what is directly in the context.
    pub(in crate::context) fn top(&self) -> Choice<'_> {
        Choice {
            excluded: Inside::top(&self.excluded),
            globs: self.globs.as_ref(),
            filter: Inside::top(&self.filter),
        }
    }
}

/// Decides about the entries of one directory, whatever was decided about those of others.
#[derive(Clone, Debug)]
pub(in crate::context) struct Choice<'s> {
    excluded: Inside<'s>,
    globs: Option<&'s GlobFilter>,
    filter: Inside<'s>,
}

impl Choice<'_> {
    /// Decides about `path`.
    pub(in crate::context) fn judge(&self, path: &[u8], is_directory: bool) -> Verdict {
        if self.excluded.judge(path, is_directory) != Verdict::Keep {
            return Verdict::Drop;
        }
        let taken = self.globs.map_or(Verdict::Keep, |globs| globs.judge(path, is_directory));
        if taken == Verdict::Drop { taken } else { taken.and(self.filter.judge(path, is_directory)) }
    }

    /// Decides about what is in `directory`, an entry of this one that is not dropped.
    pub(in crate::context) fn enter(&self, directory: &[u8]) -> Self {
        Self {
            excluded: self.excluded.enter(directory),
            globs: self.globs,
            filter: self.filter.enter(directory),
        }
    }
}

fn included(pattern: &str) -> Result<Option<Pattern>, ContextError> {
    match ignore_file::cleaned(pattern).as_deref() {
        // To BuildKit the directory itself matches nothing, but someone who includes it means all of it.
        Some("." | "/") => compile("include", "**"),
        _ => compile("include", pattern),
    }
}

fn excluded(pattern: &str) -> Result<Option<Pattern>, ContextError> {
    if ignore_file::cleaned(pattern).is_some_and(|cleaned| cleaned.starts_with('!')) {
        return Err(ContextError::ExceptionInExclude(pattern.to_owned()));
    }
    compile("exclude", pattern)
}

fn compile(field: &'static str, pattern: &str) -> Result<Option<Pattern>, ContextError> {
    let failed = |problem| ContextError::RequestPattern { field, pattern: pattern.to_owned(), problem };
    ignore_file::cleaned(pattern).map_or(Ok(None), |cleaned| Pattern::compile(&cleaned)).map_err(failed)
}
