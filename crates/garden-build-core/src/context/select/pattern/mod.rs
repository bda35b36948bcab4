//! One pattern of a `.dockerignore` file, compiled and matched as `BuildKit` does.
//!
//! The oracle is `github.com/moby/patternmatcher` v0.6.0, which `BuildKit` v0.26 uses. It knows four
//! kinds of pattern, and which kind a pattern is decides what it matches: `**foo` without other
//! wildcards is a test of the path's end, so it matches `barfoo`, while `**foo*` is a regular
//! expression and does not.

mod class;
mod literal;
mod regular;
#[cfg(test)]
mod tests;

use std::fmt;

pub(in crate::context) use self::literal::line_for;
use self::regular::{DIRECTORIES, Regular};
use crate::context::go_path;

/// Why a pattern cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PatternProblem {
    /// Its brackets or escapes are not well-formed. `BuildKit` refuses it, too.
    Malformed,
    /// It is a `!` with nothing behind it. `BuildKit` refuses it, too.
    NothingToInclude,
    /// It uses a part of Go's regular expressions that `BuildKit` lets through by accident, and that
    /// is not worth having: an alternative, a counted repetition, or a Unicode class.
    Unsupported(&'static str),
}

impl fmt::Display for PatternProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("a bracket, range or backslash in it is not well-formed"),
            Self::NothingToInclude => f.write_str("there is nothing behind the `!`"),
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
        }
    }
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// Whether the pattern takes back (`!`) what earlier ones match.
    pub(super) is_exception: bool,
    /// The cleaned text, without the `!`.
    text: String,
    kind: Kind,
    /// See [`literal_prefix`](Self::literal_prefix): how much of the text it is.
    literal: Option<usize>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// The path is the text.
    Exact,
    /// The path starts with the text up to its final `**`.
    Prefix,
    /// The path ends with the text behind its leading `**`.
    Suffix,
    /// The path matches the translated text.
    Regular(Regular),
}

impl Pattern {
    /// Compiles one line as [`ignore_file::patterns`](super::ignore_file::patterns) returns it;
    /// `None` if nothing is left of it.
    pub(super) fn compile(line: &str) -> Result<Option<Self>, PatternProblem> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let cleaned = go_path::clean(line);
        let (is_exception, text) = match cleaned.strip_prefix('!') {
            Some("") => return Err(PatternProblem::NothingToInclude),
            Some(text) => (true, text),
            None => (false, cleaned.as_str()),
        };
        go_path::check_by_matching_a_dot(text).map_err(|_| PatternProblem::Malformed)?;
        let (kind, literal) = (Kind::of(text)?, literal_length(text));
        Ok(Some(Self { is_exception, kind, text: text.to_owned(), literal }))
    }

    /// Returns whether `path` itself, not one of its parents, matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let text = self.text.as_bytes();
        match &self.kind {
            Kind::Exact => path == text,
            Kind::Prefix => path.starts_with(&text[..text.len() - 2]),
            Kind::Suffix => {
                let suffix = &text[2..];
                // `**/foo` matches `foo`, too.
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Kind::Regular(expression) => expression.matches(path),
        }
    }

    /// Returns whether anything directly in the directory at `prefix` may match. The prefix ends in a slash, or
    /// is empty. Far quicker than asking for each entry, as most patterns are about one directory.
    pub(super) fn may_match_in(&self, prefix: &[u8]) -> bool {
        let text = self.text.as_bytes();
        match &self.kind {
            Kind::Exact => text.strip_prefix(prefix).is_some_and(|name| !name.contains(&b'/')),
            Kind::Prefix => {
                let start = &text[..text.len() - 2];
                prefix.starts_with(start)
                    || start.strip_prefix(prefix).is_some_and(|name| !name.contains(&b'/'))
            }
            Kind::Suffix => true,
            Kind::Regular(expression) => expression.may_match_in(prefix),
        }
    }

    /// The directory or file that the pattern names, if it does so without wildcards other than a
    /// final `/*` or `/**`.
    pub(super) fn literal_prefix(&self) -> Option<&str> {
        self.literal.map(|length| &self.text[..length])
    }
}

fn literal_length(text: &str) -> Option<usize> {
    let text = text.strip_suffix("/**").unwrap_or(text);
    let text = text.strip_suffix("/*").unwrap_or(text);
    (!text.contains(['*', '[', ']', '?', '^', '\\'])).then_some(text.len())
}

impl Kind {
    /// Decides the kind of the pattern `text`, and translates it as moby does.
    fn of(text: &str) -> Result<Self, PatternProblem> {
        // Go's scanner drops a byte order mark at the start of what it reads.
        let mut characters = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
        let mut expression = String::from("^");
        let mut is_first = true;
        // Until something needs an expression, the `**` alone decides the kind.
        let mut plain = Self::Exact;
        let mut needs_expression = false;
        while let Some(character) = characters.next() {
            match character {
                '*' if characters.next_if_eq(&'*').is_some() => {
                    characters.next_if_eq(&'/');
                    if characters.peek().is_some() {
                        expression.push_str(DIRECTORIES);
                        needs_expression = true;
                    } else if plain == Self::Exact && !needs_expression {
                        plain = Self::Prefix;
                    } else {
                        expression.push_str(".*");
                        needs_expression = true;
                    }
                    if is_first {
                        plain = Self::Suffix;
                        needs_expression = false;
                    }
                }
                '*' => {
                    expression.push_str("[^/]*");
                    needs_expression = true;
                }
                '?' => {
                    expression.push_str("[^/]");
                    needs_expression = true;
                }
                // moby means to escape `|{}`, too, but its bitmap loses characters above U+003F.
                '.' | '+' | '(' | ')' | '$' => {
                    expression.push('\\');
                    expression.push(character);
                }
                '\\' => {
                    expression.push('\\');
                    if let Some(escaped) = characters.next() {
                        expression.push(escaped);
                        needs_expression = true;
                    }
                }
                '[' | ']' => {
                    expression.push(character);
                    needs_expression = true;
                }
                other => expression.push(other),
            }
            is_first = false;
        }
        if !needs_expression {
            return Ok(plain);
        }
        expression.push('$');
        Regular::parse(&expression).map(Self::Regular)
    }
}
