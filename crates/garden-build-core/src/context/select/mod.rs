//! Which entries of a directory become part of a context.
//!
//! The walk in `scan` asks five questions about each entry. An entry that one of them drops is not part of the context:
//!
//! | question | room |
//! |---|---|
//! | Does an ignore file with git's syntax ignore it? The request names these files. | `git_ignore` |
//! | Does a pattern of the request's `exclude` match it? | `selection` |
//! | Do the request's `globs` take it? | `globs` |
//! | Does `.dockerignore` keep it, or the Dockerfile's own ignore file, and does the request's `include`? | `rules` reads the file, `selection` asks |
//! | Does an instruction of the Dockerfile read it? | `extent` finds out whether that is certain, `wanted` answers, with the tree of `wishes` |
//!
//! Below them: `ignore_file` cuts ignore files of both kinds into lines. `pattern` is one line of `.dockerignore`, or one
//! pattern of the request. `sieve` walks a tree with two lists of patterns as `BuildKit` does, with its verdicts *keep*,
//! *drop* and *search*: the last is for a directory that is dropped itself, while something in it may be kept.

pub(super) mod extent;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod git_ignore;
mod globs;
mod ignore_file;
mod pattern;
mod rules;
mod selection;
mod sieve;
mod wanted;
mod wishes;

pub use self::extent::{Extent, Reader};
pub(super) use self::git_ignore::GitIgnore;
pub use self::globs::{GlobError, GlobFilter, GlobProblem};
pub use self::pattern::PatternProblem;
pub(super) use self::pattern::line_for;
pub use self::rules::IgnoreRules;
pub(super) use self::selection::{Choice, Selection};
pub use self::sieve::{Filter, FilterError, Sieve, Verdict};
pub(super) use self::wanted::Wanted;
