//! Which entries of a directory ignore files with git's syntax ignore.
//!
//! The rules are those of gitignore(5), and the matcher is that of the `ignore` crate. Here is what it
//! leaves to others: finding the files, their precedence, and the few patterns that git reads otherwise.

use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::small_file::read_text;
use super::{ContextError, ignore_file};
use crate::IgnoreFiles;

/// The ignore files that count at one place of a walk.
#[derive(Debug)]
pub(super) struct GitIgnore<'a> {
    context: &'a Path,
    names: &'a [String],
    /// The highest directory with files that count. Links must not lead out of it.
    top: PathBuf,
    /// The patterns of each directory from the top to the one that is being walked.
    levels: Vec<Gitignore>,
}

impl<'a> GitIgnore<'a> {
    /// Reads the files above the directory `context`. `None` if these ignore all of it.
    pub(super) fn above(
        context: &'a Path,
        files: Option<&'a IgnoreFiles>,
    ) -> Result<Option<Self>, ContextError> {
        let names = files.map_or(&[][..], |files| &files.names);
        if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            return Err(ContextError::IgnoreFileName(name.clone()));
        }
        let root = files.and_then(|files| files.root.canonicalize().ok());
        let top = root.filter(|root| context.starts_with(root)).unwrap_or_else(|| context.to_owned());
        let mut path: Vec<&Path> = context.ancestors().take_while(|above| above.starts_with(&top)).collect();
        path.reverse();
        let mut found = Self { context, names, top, levels: Vec::new() };
        for step in path.windows(2) {
            found.enter(step[0])?;
            if found.ignores(step[1], true) {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// Reads the files in `directory`, which is about to be walked.
    pub(super) fn enter(&mut self, directory: &Path) -> Result<(), ContextError> {
        let mut patterns = GitignoreBuilder::new(directory);
        // An open bracket would be taken for an ordinary character; to git, it matches nothing.
        patterns.allow_unclosed_class(false);
        for name in self.names {
            let file = self.relative(directory, name);
            if let Some(text) = read_text(&self.top, &directory.join(name), &file)? {
                for (line, pattern) in ignore_file::lines(&file, &text)? {
                    add(&mut patterns, pattern).map_err(|problem| {
                        let (file, pattern) = (file.clone(), pattern.to_owned());
                        ContextError::GitPattern { file, line, pattern, problem }
                    })?;
                }
            }
        }
        let too_large = |error: ignore::Error| ContextError::GitPatternsTooLarge {
            directory: self.relative(directory, "."),
            problem: error.to_string(),
        };
        self.levels.push(patterns.build().map_err(too_large)?);
        Ok(())
    }

    /// Forgets the files in the directory that was entered last.
    pub(super) fn leave(&mut self) {
        self.levels.pop();
    }

    /// Whether the entry at the absolute `path`, which lies in the directory entered last, is ignored.
    pub(super) fn ignores(&self, path: &Path, is_directory: bool) -> bool {
        let mut verdicts = self.levels.iter().rev().map(|level| level.matched(path, is_directory));
        verdicts.find(|verdict| !verdict.is_none()).is_some_and(|verdict| verdict.is_ignore())
    }

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
fn add(patterns: &mut GitignoreBuilder, line: &str) -> Result<(), String> {
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
