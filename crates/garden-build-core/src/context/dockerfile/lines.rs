//! From the text of a Dockerfile to its instructions, as `BuildKit` reads it
//! (`frontend/dockerfile/parser` of v0.26).

use std::borrow::Cow;

use super::directives::{Directive, Directives, is_stock_frontend, syntax_behind_shebang};
use super::heredoc::{Heredoc, heredocs};
use super::{Doubt, Doubts};

/// The line length at which Go's line scanner gives up.
const LINE_LIMIT: usize = 64 * 1024;

/// The instructions that `BuildKit` knows.
const KNOWN: &[&str] = &[
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "from",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

/// A Dockerfile, cut into instructions.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) instructions: Vec<Instruction>,
    /// What takes the meaning from the character behind it, and continues a line.
    pub(super) escape: char,
    /// What `# syntax` says: the image of a frontend.
    pub(super) syntax: Option<String>,
    /// Why it may be read in another way.
    pub(super) doubts: Doubts,
}

/// One instruction: `KEYWORD --flag … rest`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    /// In lower case.
    pub(super) keyword: String,
    /// Each with its dashes and its value, without quotes and escapes.
    pub(super) flags: Vec<String>,
    pub(super) rest: String,
    /// The number of its first line; the first line of the Dockerfile is 1.
    pub(super) line: usize,
    /// The texts that follow it.
    pub(super) heredocs: Vec<Heredoc>,
}

/// A flag without its dashes, and its value.
pub(super) type Flag<'i> = (&'i str, Option<&'i str>);

impl Script {
    /// Reads all that can be read. What is doubtful is noted, and the rest is read as if there were no doubt.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut script =
            Self { instructions: Vec::new(), escape: '\\', syntax: None, doubts: Doubts::default() };
        let text = String::from_utf8_lossy(text);
        if matches!(text, Cow::Owned(_)) {
            script.doubts.add("it is not UTF-8");
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        // Go's scanner does something of its own with either.
        if text.contains(['\0', '\u{feff}']) {
            script.doubts.add("it contains a character that does not belong into text");
        }
        if text.split('\n').any(|line| line.len() >= LINE_LIMIT - 1) {
            script.doubts.add("a line of it is too long");
        }
        script.read(text);
        if let Some(syntax) = &script.syntax
            && !is_stock_frontend(syntax)
        {
            script.doubts.add(format!("`# syntax={syntax}` may read it in another way"));
        }
        script
    }

    fn read(&mut self, text: &str) {
        let mut directives = Directives::default();
        if text.starts_with("#!") {
            self.syntax = self.doubts.note(syntax_behind_shebang(text)).flatten();
            directives.end();
        }
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = trim_newline(line).trim_start();
            self.heed(&mut directives, line);
            if line.starts_with('#') {
                continue;
            }
            let (line, mut continues) = trim_continuation(line, self.escape);
            if !continues && line.is_empty() {
                continue;
            }
            let mut whole = line.to_owned();
            while continues && let Some((_, next)) = lines.next() {
                let next = trim_newline(next);
                self.heed(&mut directives, next);
                if next.trim_start().starts_with('#') || next.trim_start().is_empty() {
                    continue;
                }
                let (part, more) = trim_continuation(next, self.escape);
                whole.push_str(part);
                continues = more;
            }
            let Some(mut instruction) = self.doubts.note(Instruction::parse(&whole, number + 1, self.escape))
            else {
                continue;
            };
            if whole.contains("<<")
                && self.doubts.note(instruction.can_contain_heredoc(self.escape)) == Some(true)
            {
                instruction.heredocs = self.doubts.note(heredocs(&whole)).unwrap_or_default();
                for heredoc in &mut instruction.heredocs {
                    self.doubts.note(heredoc.read(&mut lines));
                }
            }
            self.instructions.push(instruction);
        }
    }

    /// Does what `line` says, if it is a directive.
    fn heed(&mut self, directives: &mut Directives, line: &str) {
        match self.doubts.note(directives.read(line)).flatten() {
            Some(Directive::Escape(escape)) => self.escape = escape,
            Some(Directive::Syntax(image)) => self.syntax = Some(image),
            None => {}
        }
    }
}

/// `str::lines` has taken one line end away; `BuildKit` takes all of them.
pub(super) fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// Takes the escape away that continues a line, with the space behind it.
fn trim_continuation(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}

impl Instruction {
    fn parse(line: &str, number: usize, escape: char) -> Result<Self, Doubt> {
        let (keyword, rest) = match split_at_spaces(line.trim(), 2).as_slice() {
            [keyword, rest] => (*keyword, *rest),
            _ => (line.trim(), ""),
        };
        let keyword = keyword.to_ascii_lowercase();
        if !KNOWN.contains(&keyword.as_str()) {
            return Err(Doubt::of(format!("there is no instruction `{keyword}`")));
        }
        let (flags, rest) = split_flags(rest, escape)?;
        Ok(Self { keyword, flags, rest: rest.trim().to_owned(), line: number, heredocs: Vec::new() })
    }

    pub(super) fn named_flags(&self) -> impl Iterator<Item = Flag<'_>> {
        self.flags.iter().map(|flag| match flag.split_once('=') {
            Some((name, value)) => (name.trim_start_matches("--"), Some(value)),
            None => (flag.trim_start_matches("--"), None),
        })
    }

    /// The instruction behind `ONBUILD`.
    fn trigger(&self, escape: char) -> Result<Option<Self>, Doubt> {
        let is_trigger = self.keyword == "onbuild" && !self.rest.is_empty();
        if is_trigger { Self::parse(&self.rest, self.line, escape).map(Some) } else { Ok(None) }
    }

    fn can_contain_heredoc(&self, escape: char) -> Result<bool, Doubt> {
        let trigger = self.trigger(escape)?;
        let instruction = trigger.as_ref().unwrap_or(self);
        Ok(matches!(instruction.keyword.as_str(), "add" | "copy" | "run") && instruction.json()?.is_none())
    }

    /// The arguments, if they are written as a JSON array.
    fn json(&self) -> Result<Option<Vec<String>>, Doubt> {
        if !self.rest.starts_with('[') {
            return Ok(None);
        }
        match serde_json::from_str::<Vec<serde_json::Value>>(&self.rest) {
            Ok(values) => values
                .into_iter()
                .map(|value| match value {
                    serde_json::Value::String(text) => Ok(text),
                    _ => Err(Doubt::of("a JSON array in it contains more than strings")),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            // Go accepts halves of surrogate pairs and deeper nesting.
            Err(_) if self.rest.contains("\\u") || self.rest.matches('[').count() > 100 => {
                Err(Doubt::of("a JSON array in it is unusual"))
            }
            Err(_) => Ok(None),
        }
    }

    /// The arguments: those of a JSON array, or what is between spaces.
    pub(super) fn arguments(&self) -> Result<Vec<String>, Doubt> {
        if self.rest.is_empty() {
            return Ok(Vec::new());
        }
        match self.json()? {
            Some(arguments) => Ok(arguments),
            None => Ok(split_at_spaces(&self.rest, usize::MAX).into_iter().map(str::to_owned).collect()),
        }
    }

    /// The words, in which quotes protect spaces. Quotes and escapes are kept.
    pub(super) fn words(&self, escape: char) -> Vec<String> {
        quoted_words(&self.rest, escape)
    }
}

/// Splits at spaces, into at most `limit` parts. Other than what is space to Unicode, a line break is none.
pub(super) fn split_at_spaces(text: &str, limit: usize) -> Vec<&str> {
    let is_space = |character| matches!(character, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ');
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.len() + 1 < limit
        && let Some(index) = rest.find(is_space)
    {
        parts.push(&rest[..index]);
        rest = rest[index..].trim_start_matches(is_space);
    }
    parts.push(rest);
    parts
}

/// Splits off leading words that begin with `--`, without their quotes and escapes.
fn split_flags(line: &str, escape: char) -> Result<(Vec<String>, &str), Doubt> {
    let is_space = |character: char| character.is_ascii() && character.is_whitespace();
    let mut flags = Vec::new();
    let mut rest = line.trim_start_matches(is_space);
    while rest.starts_with("--") {
        let mut flag = String::new();
        let mut quote = None;
        let mut was_quoted = false;
        let mut characters = rest.char_indices();
        let end = loop {
            let Some((index, character)) = characters.next() else { break rest.len() };
            // BuildKit takes each byte for a character here.
            if !character.is_ascii() {
                return Err(Doubt::of(format!("`{character}` stands in a flag")));
            }
            match quote {
                None if character.is_whitespace() => break index,
                None if matches!(character, '\'' | '"') => (quote, was_quoted) = (Some(character), true),
                Some(open) if character == open => quote = None,
                _ if character == escape => flag.extend(characters.next().map(|(_, escaped)| escaped)),
                _ => flag.push(character),
            }
        };
        if !flag.is_ascii() {
            return Err(Doubt::of(format!("`{flag}` is not ASCII")));
        }
        rest = &rest[end..];
        if flag == "--" {
            break;
        }
        if was_quoted || !flag.is_empty() {
            flags.push(flag);
        }
        rest = rest.trim_start_matches(is_space);
    }
    Ok((flags, rest))
}

fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|next| next.is_whitespace()).is_some() {}
        if characters.peek().is_none() {
            return words;
        }
        let mut word = String::new();
        let mut quote = None;
        let mut was_quoted = false;
        while let Some(character) = characters.next() {
            match quote {
                None if character.is_whitespace() => break,
                None if matches!(character, '\'' | '"') => (quote, was_quoted) = (Some(character), true),
                Some(open) if character == open => quote = None,
                _ => {}
            }
            if character == escape && quote != Some('\'') {
                // An escape at the very end is dropped.
                let Some(escaped) = characters.next() else { break };
                word.push(character);
                word.push(escaped);
            } else {
                word.push(character);
            }
        }
        if was_quoted || !word.is_empty() {
            words.push(word);
        }
    }
}
