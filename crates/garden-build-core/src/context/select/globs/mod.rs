//! Which entries of a tree globs of files keep.
//!
//! A pattern of `.dockerignore` that matches a directory stands for all in it. A glob with a wildcard is about files
//! only: `lib/*` takes the files directly in `lib`. Garden has such globs, and matches them with git's `:(glob)`
//! pathspecs (0.12, `include`) and with micromatch (otherwise). The matcher here is `globset`; `vectors.json` shows where
//! the three agree.

mod glob;

use std::collections::{BTreeMap, BTreeSet};

use globset::{Candidate, GlobSet, GlobSetBuilder};

use self::glob::Glob;
pub use self::glob::GlobProblem;
use super::sieve::Verdict;
use crate::FileGlobs;

/// Globs that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// One of them is not well-formed.
    #[error("the glob `{glob}` in `{field}` {problem}")]
    Glob {
        /// `include` or `exclude`.
        field: &'static str,
        /// The glob.
        glob: String,
        /// What is wrong with it.
        problem: GlobProblem,
    },
    /// They are well-formed, but more than can be matched.
    #[error("the globs in `{field}` cannot be used: {problem}")]
    TooLarge {
        /// `include` or `exclude`.
        field: &'static str,
        /// What is too much.
        problem: String,
    },
}

impl GlobError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Glob { problem, .. } => problem.hint(),
            Self::TooLarge { .. } => "use fewer globs, and shorter ones",
        }
    }
}

/// Decides by [`FileGlobs`] which entries of a tree are kept.
///
/// ```
/// use garden_build_core::FileGlobs;
/// use garden_build_core::context::{GlobFilter, Verdict};
///
/// let mut globs = FileGlobs::default();
/// globs.include = Some(vec!["src".to_owned(), "lib/*".to_owned()]);
/// globs.exclude = vec!["**/*.log".to_owned()];
/// let filter = GlobFilter::new(&globs)?;
/// assert_eq!(filter.judge(b"src/a/b.c", false), Verdict::Keep);
/// assert_eq!(filter.judge(b"src/a/b.log", false), Verdict::Drop);
/// assert_eq!(filter.judge(b"lib/c.js", false), Verdict::Keep);
/// assert_eq!(filter.judge(b"lib/deep", true), Verdict::Drop);
/// assert_eq!(filter.judge(b"lib", true), Verdict::Search);
/// # Ok::<(), garden_build_core::context::GlobError>(())
/// ```
#[derive(Clone, Debug)]
pub struct GlobFilter {
    include: Option<Taken>,
    exclude: Taken,
}

/// More bytes than these are not taken as the globs of one list, so that compiling them stays cheap.
const MOST: usize = 256 * 1024;

impl FileGlobs {
    /// Returns what is wrong with the globs.
    pub fn errors(&self) -> Vec<GlobError> {
        let include = self.include.as_deref().unwrap_or_default();
        let lists = [("include", include), ("exclude", &self.exclude[..])];
        let errors = lists.into_iter().flat_map(|(field, globs)| {
            if globs.iter().map(String::len).sum::<usize>() > MOST {
                let problem = "they are longer than 256 KiB together".to_owned();
                return vec![GlobError::TooLarge { field, problem }];
            }
            let error = |glob: &String| {
                let problem = Glob::parse(glob).err()?;
                Some(GlobError::Glob { field, glob: glob.clone(), problem })
            };
            globs.iter().filter_map(error).collect()
        });
        errors.collect()
    }
}

impl GlobFilter {
    /// Compiles globs.
    ///
    /// # Errors
    /// The first of [`FileGlobs::errors`].
    pub fn new(globs: &FileGlobs) -> Result<Self, GlobError> {
        if let Some(error) = globs.errors().into_iter().next() {
            return Err(error);
        }
        let include = globs.include.as_ref().map(|include| Taken::compile("include", include)).transpose()?;
        Ok(Self { include, exclude: Taken::compile("exclude", &globs.exclude)? })
    }

    /// Decides about the entry at the slash-separated `path`. A directory is never kept for itself: it is
    /// [searched](Verdict::Search) unless nothing in it can be kept.
    pub fn judge(&self, path: &[u8], is_directory: bool) -> Verdict {
        if is_directory {
            let is_reached = self.include.as_ref().is_none_or(|include| include.reaches_into(path));
            return if is_reached && !self.exclude.has_all_of(path) {
                Verdict::Search
            } else {
                Verdict::Drop
            };
        }
        let is_included = self.include.as_ref().is_none_or(|include| include.has(path));
        if is_included && !self.exclude.has(path) { Verdict::Keep } else { Verdict::Drop }
    }
}

/// What a list of globs takes.
#[derive(Clone, Debug, Default)]
struct Taken {
    everything: bool,
    /// Files, and directories with all in them, by their paths.
    paths: BTreeSet<Vec<u8>>,
    /// Directories with all in them.
    below: BTreeSet<Vec<u8>>,
    /// Matches files.
    files: GlobSet,
    /// Matches directories that are taken with all in them.
    directories: GlobSet,
    /// How deep below which directories the globs for files can match; `usize::MAX` for any depth.
    reach: BTreeMap<Vec<u8>, usize>,
}

impl Taken {
    fn compile(field: &'static str, globs: &[String]) -> Result<Self, GlobError> {
        let mut taken = Self::default();
        let (mut files, mut directories) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for text in globs {
            let failed = |problem| GlobError::Glob { field, glob: text.clone(), problem };
            match Glob::parse(text).map_err(failed)? {
                Glob::Everything => taken.everything = true,
                Glob::Path(path) => {
                    taken.paths.insert(path);
                }
                Glob::Below(path) => {
                    taken.below.insert(path);
                }
                Glob::Nothing => {}
                Glob::Wild(wild) => {
                    taken.paths.insert(wild.literal);
                    files.add(wild.files);
                    if let Some(whole) = wild.directories {
                        if wild.directories_are_files {
                            files.add(whole.clone());
                        }
                        directories.add(whole);
                    }
                    let deepest = taken.reach.entry(wild.below).or_default();
                    *deepest = wild.depth.max(*deepest);
                }
            }
        }
        let failed = |error: globset::Error| GlobError::TooLarge { field, problem: error.to_string() };
        taken.files = files.build().map_err(failed)?;
        taken.directories = directories.build().map_err(failed)?;
        Ok(taken)
    }

    fn has(&self, file: &[u8]) -> bool {
        self.has_path(file) || self.files.is_match_candidate(&Candidate::from_bytes(file))
    }

    /// Whether all that may be in `directory` is taken, as far as the globs show it.
    fn has_all_of(&self, directory: &[u8]) -> bool {
        self.has_path(directory)
            || self.below.contains(directory)
            || self.directories.is_match_candidate(&Candidate::from_bytes(directory))
    }

    fn has_path(&self, path: &[u8]) -> bool {
        let is_below = || with_parents(path).skip(1).any(|parent| self.below.contains(parent));
        self.everything || with_parents(path).any(|path| self.paths.contains(path)) || is_below()
    }

    /// Whether something in `directory` may be taken.
    fn reaches_into(&self, directory: &[u8]) -> bool {
        let below = [directory, b"/"].concat();
        let is_below = |path: Option<&Vec<u8>>| path.is_some_and(|path| path.starts_with(&below));
        let depth = directory.split(|byte| *byte == b'/').count();
        let is_searched = |start: &[u8]| self.reach.get(start).is_some_and(|deepest| depth < *deepest);
        self.has_path(directory)
            || self.below.contains(directory)
            || is_below(self.below.range(below.clone()..).next())
            || is_below(self.paths.range(below.clone()..).next())
            || is_below(self.reach.range(below.clone()..).next().map(|(start, _)| start))
            || with_parents(directory).any(is_searched)
            || is_searched(b"")
    }
}

/// Returns `path` and the directories that it lies in.
fn with_parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        let slash = path.iter().rposition(|byte| *byte == b'/')?;
        Some(&path[..slash])
    })
}

#[cfg(test)]
mod tests;
