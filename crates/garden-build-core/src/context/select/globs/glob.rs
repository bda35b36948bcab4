//! One glob: what is well-formed, and what it stands for.

use std::fmt;

use globset::GlobBuilder;

/// Longer globs, in bytes, are refused: no path is longer.
const LONGEST: usize = 4096;

/// Operators of extended globs, which match nothing that `{…,…}` does not.
const EXTENDED: [&str; 5] = ["?(", "*(", "+(", "@(", "!("];

/// Characters that have a meaning in a class or in regular expressions.
const MEANINGFUL: [char; 15] = ['-', '*', '+', '?', '.', '^', '$', '{', '}', '(', '|', ')', '[', ']', '\\'];

/// Why a glob cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobProblem {
    /// It is empty.
    Empty,
    /// It is longer than 4096 bytes.
    TooLong,
    /// It begins with a `/`.
    Absolute,
    /// A part of it is `..`.
    LeadsOut,
    /// It begins with a `!`.
    Negated,
    /// It has a group such as `+(…)`.
    Extended,
    /// A `{` has no `}`, or the other way round, or there is no `,` between them.
    Braces,
    /// Its brackets or escapes are not well-formed.
    Malformed,
}

impl fmt::Display for GlobProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::TooLong => "is longer than 4096 bytes",
            Self::Absolute => "is an absolute path",
            Self::LeadsOut => "leads out of the directory",
            Self::Negated => "starts with `!`",
            Self::Extended => "has an extended group such as `+(…)`",
            Self::Braces => "has braces that do not pair, or have no alternatives",
            Self::Malformed => "has a bracket, range or backslash that is not well-formed",
        })
    }
}

impl GlobProblem {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Empty => "leave the item out",
            Self::TooLong => "write it as several globs",
            Self::Absolute => "write it relative to the directory",
            Self::LeadsOut => "write it relative to the directory, without `..`",
            Self::Negated => "put what is not to be matched into the other of `include` and `exclude`",
            Self::Extended => "write it with `*`, `**`, `?`, `[…]` and `{…,…}`",
            Self::Braces => "write alternatives as `{a,b}`; a `\\` makes a brace literal",
            Self::Malformed => "correct it; a `\\` makes the next character literal",
        }
    }
}

/// What a glob stands for.
pub(super) enum Glob {
    /// Everything: `.`, `**` and the like.
    Everything,
    /// Nothing, as it has a wildcard and ends in a `/`, while only files are matched.
    Nothing,
    /// A file, or a directory with all in it: a glob without wildcards.
    Path(Vec<u8>),
    /// All in a directory: `lib/**/*`.
    Below(Vec<u8>),
    /// What a glob with wildcards matches.
    Wild(Wild),
}

pub(super) struct Wild {
    /// The text, as both git and micromatch take a file of that very name: `[slug].js`.
    pub(super) literal: Vec<u8>,
    /// Matches files.
    pub(super) files: globset::Glob,
    /// Matches directories that are taken with all in them, if the glob ends in `/**` or `/**/*`.
    pub(super) directories: Option<globset::Glob>,
    /// Whether `directories` matches files, too: to micromatch, `*.js/**` stands for a file `a.js` as well.
    pub(super) directories_are_files: bool,
    /// The directory without wildcards that it begins with, and the parts that a path has at most that it matches.
    pub(super) below: Vec<u8>,
    pub(super) depth: usize,
}

impl Glob {
    /// Reads a glob. `./`, `//` and the `/` at the end of a path change nothing.
    pub(super) fn parse(text: &str) -> Result<Self, GlobProblem> {
        check(text)?;
        let deep = at_any_depth(text);
        let text = deep.as_deref().unwrap_or(text);
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let is_wild = |text: &str| text.contains(['*', '?', '[', '{', '\\']);
        if text.ends_with('/') && is_wild(text) {
            return Ok(Self::Nothing);
        }
        let (whole, takes_files) = match &parts[..] {
            [whole @ .., "**", "*"] => (Some(without_stars(whole)), false),
            [whole @ .., "**"] => (Some(without_stars(whole)), !ends_in_a_star(whole)),
            _ => (None, true),
        };
        if parts.is_empty() || whole.is_some_and(<[_]>::is_empty) {
            return Ok(Self::Everything);
        }
        let plain = whole.unwrap_or(&parts).join("/");
        if !is_wild(&plain) {
            let plain = plain.into_bytes();
            return Ok(if takes_files { Self::Path(plain) } else { Self::Below(plain) });
        }
        let below: Vec<&str> = parts.iter().copied().take_while(|part| !is_wild(part)).collect();
        let is_deep = text.contains("**") || text.contains('{');
        let literal = parts.join("/");
        Ok(Self::Wild(Wild {
            files: compile(&literal)?,
            directories: whole.map(|whole| compile(&whole.join("/"))).transpose()?,
            directories_are_files: takes_files,
            below: below.join("/").into_bytes(),
            depth: if is_deep { usize::MAX } else { parts.len() },
            literal: literal.into_bytes(),
        }))
    }
}

/// The parts in front of the `**` at the end, of which more than one mean the same.
fn without_stars<'p, 't>(parts: &'p [&'t str]) -> &'p [&'t str] {
    let stars = parts.iter().rev().take_while(|part| **part == "**").count();
    &parts[..parts.len() - stars]
}

/// Whether a `/**` behind `parts` is only about what is in a directory. Behind anything else but a star, micromatch lets it stand
/// for nothing at all, and so takes a file of that name.
/// Source: picomatch 2.3, `parse`, "strip trailing slash and make it optional".
fn ends_in_a_star(parts: &[&str]) -> bool {
    let last = without_stars(parts).last().and_then(|part| part.strip_suffix('*'));
    last.is_some_and(|before| before.bytes().rev().take_while(|it| *it == b'\\').count() % 2 == 0)
}

/// To micromatch, `**.js` and `**.test.js` are at any depth, but neither `**.j*` nor `lib/**.js`: within a part, `**` is a `*` otherwise.
/// Source: picomatch 2.3, `parse.fastpaths`.
fn at_any_depth(text: &str) -> Option<String> {
    let extensions = text.trim_start_matches("./").strip_prefix("**.")?;
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    extensions.split('.').all(is_word).then(|| format!("**/*.{extensions}"))
}

fn check(text: &str) -> Result<(), GlobProblem> {
    let problems = [
        (text.is_empty(), GlobProblem::Empty),
        (text.len() > LONGEST, GlobProblem::TooLong),
        (text.starts_with('/'), GlobProblem::Absolute),
        (text.split('/').any(|part| part == ".."), GlobProblem::LeadsOut),
        (text.starts_with('!'), GlobProblem::Negated),
        (EXTENDED.iter().any(|operator| text.contains(operator)), GlobProblem::Extended),
        (!has_alternatives_in_braces(text), GlobProblem::Braces),
    ];
    problems.into_iter().find(|(is_wrong, _)| *is_wrong).map_or(Ok(()), |(_, problem)| Err(problem))
}

/// Whether all braces pair and have alternatives. Others are text to micromatch, as is `{1..9}` to git.
fn has_alternatives_in_braces(text: &str) -> bool {
    let mut open = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '{' => open.push(false),
            '}' if open.pop() != Some(true) => return false,
            ',' => {
                if let Some(has_alternatives) = open.last_mut() {
                    *has_alternatives = true;
                }
            }
            _ => {}
        }
    }
    open.is_empty()
}

fn compile(text: &str) -> Result<globset::Glob, GlobProblem> {
    let text = with_literal_brackets(text);
    let mut builder = GlobBuilder::new(&text);
    builder.literal_separator(true).backslash_escape(true).empty_alternates(true);
    builder.build().map_err(|_| GlobProblem::Malformed)
}

/// Lets brackets stand for themselves, too, as micromatch does unless what is between them has a meaning: `app/[slug]/*` is
/// the way to a file of a web framework.
fn with_literal_brackets(text: &str) -> String {
    let mut all = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['[', '\\']) {
        let (before, bracket) = rest.split_at(at);
        all.push_str(before);
        let class = bracket.strip_prefix('[').and_then(|inner| {
            let inner = &inner[..inner.find(']')?];
            let is_plain =
                !inner.is_empty() && !inner.contains(['/', '!', ',']) && !inner.contains(MEANINGFUL);
            is_plain.then_some(inner)
        });
        let length = if let Some(inner) = class {
            all.extend(["{[", inner, "],\\[", inner, "\\]}"]);
            inner.len() + 2
        } else {
            // A class with something else in it, or an escape with what it makes literal.
            let length = if let Some(inner) = bracket.strip_prefix('[') {
                inner.find(']').map_or(1, |end| end + 2)
            } else {
                1 + bracket[1..].chars().next().map_or(0, char::len_utf8)
            };
            all.push_str(&bracket[..length]);
            length
        };
        rest = &bracket[length..];
    }
    all + rest
}
