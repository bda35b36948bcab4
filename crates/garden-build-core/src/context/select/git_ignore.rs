//! Which entries of a directory ignore files with git's syntax ignore.
//!
//! The rules are those of gitignore(5), and the matcher is that of the `ignore` crate. Here is what it
//! leaves to others: finding the files, their precedence, and the few patterns that git reads otherwise.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::ignore_file;
use crate::IgnoreFiles;
use crate::context::read::read_text;
use crate::context::{ContextError, OpenDirectory};

/// The ignore files that count in one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::context) struct GitIgnore<'a> {
    files: Arc<Files<'a>>,
    deepest: Option<Arc<Level>>,
}

#[derive(Debug)]
struct Files<'a> {
    context: &'a Path,
    names: &'a [String],
    /// The highest directory with files that count. Links must not lead out of it.
    top: OpenDirectory,
}

/// The patterns of a directory with such files.
#[derive(Debug)]
struct Level {
    patterns: Gitignore,
    above: Option<Arc<Level>>,
}

/// Level by level, as otherwise each would call the next.
impl Drop for Level {
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(level) = above {
            above = Arc::into_inner(level).and_then(|mut level| level.above.take());
        }
    }
}

impl<'a> GitIgnore<'a> {
    /// Reads the files above the directory `context`. `None` if these ignore all of it.
    pub(in crate::context) fn above(
        context: &'a OpenDirectory,
        files: Option<&'a IgnoreFiles>,
    ) -> Result<Option<Self>, ContextError> {
        let names = files.map_or(&[][..], |files| &files.names);
        if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            return Err(ContextError::IgnoreFileName(name.clone()));
        }
        let root = files.and_then(|files| files.root.canonicalize().ok());
        let top = match root.filter(|root| *root != context.path() && context.path().starts_with(root)) {
            Some(root) => OpenDirectory::open(&root)
                .map_err(|reason| ContextError::RootUnreadable { path: root, reason })?,
            None => context.clone(),
        };
        let context = context.path();
        let mut path: Vec<&Path> =
            context.ancestors().take_while(|above| above.starts_with(top.path())).collect();
        path.reverse();
        let mut found = Self { files: Arc::new(Files { context, names, top }), deepest: None };
        for step in path.windows(2) {
            found = found.enter(step[0], |_| true)?;
            if found.ignores(step[1], true) {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// Reads the files in `directory`, which is directly in this one and about to be walked. `may_have` tells
    /// whether it may have a file with a name like this one.
    pub(in crate::context) fn enter(
        &self,
        directory: &Path,
        may_have: impl Fn(&OsStr) -> bool,
    ) -> Result<Self, ContextError> {
        let mut patterns = GitignoreBuilder::new(directory);
        // An open bracket would be taken for an ordinary character; to git, it matches nothing.
        patterns.allow_unclosed_class(false);
        let mut is_any = false;
        for name in self.files.names.iter().filter(|name| may_have(OsStr::new(name))) {
            let file = self.files.relative(directory, name);
            if let Some(text) = read_text(&self.files.top, &directory.join(name), &file)? {
                is_any = true;
                for (line, pattern) in ignore_file::lines(&file, &text)? {
                    add(&mut patterns, pattern).map_err(|problem| {
                        let (file, pattern) = (file.clone(), pattern.to_owned());
                        ContextError::GitPattern { file, line, pattern, problem }
                    })?;
                }
            }
        }
        if !is_any {
            return Ok(self.clone());
        }
        let too_large = |error: ignore::Error| ContextError::GitPatternsTooLarge {
            directory: self.files.relative(directory, "."),
            problem: error.to_string(),
        };
        let level = Level { patterns: patterns.build().map_err(too_large)?, above: self.deepest.clone() };
        Ok(Self { files: Arc::clone(&self.files), deepest: Some(Arc::new(level)) })
    }

    /// Whether there are patterns at all.
    pub(in crate::context) fn is_any(&self) -> bool {
        self.deepest.is_some()
    }

    /// Whether the entry at the absolute `path`, which lies in this directory, is ignored.
    pub(in crate::context) fn ignores(&self, path: &Path, is_directory: bool) -> bool {
        let levels = std::iter::successors(self.deepest.as_ref(), |level| level.above.as_ref());
        let mut verdicts = levels.map(|level| level.patterns.matched(path, is_directory));
        verdicts.find(|verdict| !verdict.is_none()).is_some_and(|verdict| verdict.is_ignore())
    }
}

impl Files<'_> {
    /// Writes the path of `name` in `directory` relative to the context.
    fn relative(&self, directory: &Path, name: &str) -> String {
        let (up, down) = match directory.strip_prefix(self.context) {
            Ok(below) => (0, below),
            Err(_) => (self.context.components().count() - directory.components().count(), Path::new("")),
        };
        let down = down.components().map(|part| format!("{}/", part.as_os_str().to_string_lossy()));
        format!("{}{}{name}", "../".repeat(up), down.collect::<String>())
    }
}

fn is_plain(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|plain| plain == name)
}

/// Adds the pattern that stands in one line, if there is one.
pub(super) fn add(patterns: &mut GitignoreBuilder, line: &str) -> Result<(), String> {
    match patterns.add_line(None, &as_matcher_reads(line)?) {
        Ok(_) => Ok(()),
        Err(ignore::Error::Glob { err, .. }) => Err(err),
        Err(error) => Err(error.to_string()),
    }
}

/// Rewrites what the matcher reads otherwise than git: to git, braces are ordinary characters (to the
/// matcher, `{a,b}` is `a` or `b`), and more than two stars are two.
fn as_matcher_reads(line: &str) -> Result<String, String> {
    let mut text = String::with_capacity(line.len());
    let (mut is_escaped, mut in_brackets) = (false, false);
    for character in line.chars() {
        match character {
            '\\' if in_brackets => {
                return Err("a `\\` in brackets is not supported; a `]` can be first there, and a `-` last"
                    .to_owned());
            }
            '[' if !is_escaped => in_brackets = true,
            ']' => in_brackets = false,
            '{' | '}' if !is_escaped && !in_brackets => text.push('\\'),
            '*' if text.ends_with("**") => continue,
            _ => {}
        }
        is_escaped = character == '\\' && !is_escaped;
        text.push(character);
    }
    Ok(text)
}
