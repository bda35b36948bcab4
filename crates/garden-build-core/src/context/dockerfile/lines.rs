//! From the text of a Dockerfile to its instructions, as `BuildKit` reads it
//! (`frontend/dockerfile/parser` of v0.26).

use std::str::Lines;

use super::Doubt;
use super::lex;

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
}

/// One instruction: `KEYWORD --flag … rest`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    /// In lower case.
    pub(super) keyword: String,
    /// Each with its dashes and its value, without quotes and escapes.
    pub(super) flags: Vec<String>,
    pub(super) rest: String,
}

impl Script {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Doubt> {
        let text = std::str::from_utf8(text).map_err(|_| Doubt::of("it is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Go's scanner does something of its own with either.
        if text.contains(['\0', '\u{feff}']) {
            return Err(Doubt::of("it contains a character that does not belong into text"));
        }
        if text.split('\n').any(|line| line.len() >= LINE_LIMIT - 1) {
            return Err(Doubt::of("a line of it is too long"));
        }
        // To the search for `# syntax` the line is not there, to the parser it is a comment.
        if text.starts_with("#!") {
            return Err(Doubt::of("it begins with `#!`"));
        }
        let mut script = Self { instructions: Vec::new(), escape: '\\' };
        let mut directives = Directives::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let line = trim_newline(line).trim_start();
            if let Some(escape) = directives.read(line)? {
                script.escape = escape;
            }
            if line.starts_with('#') {
                continue;
            }
            let (line, mut continues) = trim_continuation(line, script.escape);
            if !continues && line.is_empty() {
                continue;
            }
            let mut whole = line.to_owned();
            while continues && let Some(next) = lines.next() {
                let next = trim_newline(next);
                if let Some(escape) = directives.read(next)? {
                    script.escape = escape;
                }
                if next.trim_start().starts_with('#') || next.trim_start().is_empty() {
                    continue;
                }
                let (part, more) = trim_continuation(next, script.escape);
                whole.push_str(part);
                continues = more;
            }
            let instruction = Instruction::parse(&whole, script.escape)?;
            if whole.contains("<<") && instruction.can_contain_heredoc(script.escape)? {
                for heredoc in heredocs(&whole)? {
                    skip_heredoc(&mut lines, &heredoc)?;
                }
            }
            script.instructions.push(instruction);
        }
        Ok(script)
    }
}

/// `str::lines` has taken one line end away; `BuildKit` takes all of them.
fn trim_newline(line: &str) -> &str {
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

/// Reads comments such as `# escape=…`, which have to precede everything else.
#[derive(Default)]
struct Directives {
    seen: Vec<String>,
    done: bool,
}

impl Directives {
    /// Returns the escape character if `line` sets it.
    fn read(&mut self, line: &str) -> Result<Option<char>, Doubt> {
        if self.done {
            return Ok(None);
        }
        let Some((name, value)) = Self::split(line) else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(Doubt::of(format!("it sets `# {name}` twice")));
        }
        let escape = match (name.as_str(), value) {
            ("escape", _) if self.seen.iter().any(|name| name == "check") => {
                return Err(Doubt::of("`# escape` stands behind `# check`, which older parsers do not know"));
            }
            ("escape", "\\") => Some('\\'),
            ("escape", "`") => Some('`'),
            ("escape", _) => return Err(Doubt::of("it has an escape character that there is not")),
            ("syntax", image) if !is_stock_frontend(image) => {
                return Err(Doubt::of(format!("`# syntax={image}` may read it in another way")));
            }
            _ => None,
        };
        self.seen.push(name);
        Ok(escape)
    }

    /// The name, in lower case, and the value of `# name = value`, if there is such a directive.
    fn split(line: &str) -> Option<(String, &str)> {
        let (name, value) = line.strip_prefix('#')?.trim_start().split_once('=')?;
        let name = name.trim_end_matches(is_regular_space).to_ascii_lowercase();
        let value = value.trim_matches(is_regular_space);
        (["syntax", "escape", "check"].contains(&name.as_str()) && !value.is_empty()).then_some((name, value))
    }
}

/// What `\s` is in Go's regular expressions.
fn is_regular_space(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\u{c}' | '\r' | ' ')
}

/// Whether `image` is the frontend that `BuildKit` has built in, in whatever version.
fn is_stock_frontend(image: &str) -> bool {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    image
        .strip_prefix("docker/dockerfile")
        .is_some_and(|rest| (rest.is_empty() || rest.starts_with([':', '@'])) && !rest.contains(' '))
}

impl Instruction {
    fn parse(line: &str, escape: char) -> Result<Self, Doubt> {
        let (keyword, rest) = match split_at_spaces(line.trim(), 2).as_slice() {
            [keyword, rest] => (*keyword, *rest),
            _ => (line.trim(), ""),
        };
        let keyword = keyword.to_ascii_lowercase();
        if !KNOWN.contains(&keyword.as_str()) {
            return Err(Doubt::of(format!("there is no instruction `{keyword}`")));
        }
        let (flags, rest) = split_flags(rest, escape)?;
        Ok(Self { keyword, flags, rest: rest.trim().to_owned() })
    }

    /// The instruction behind `ONBUILD`.
    fn trigger(&self, escape: char) -> Result<Option<Self>, Doubt> {
        let is_trigger = self.keyword == "onbuild" && !self.rest.is_empty();
        if is_trigger { Self::parse(&self.rest, escape).map(Some) } else { Ok(None) }
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

/// A text in the Dockerfile itself: `<<NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Heredoc {
    name: String,
    /// Tabs before the end mark are ignored (`<<-`).
    chomp: bool,
}

impl Heredoc {
    /// Reads a word, which may be something else.
    fn parse(word: &str) -> Result<Option<Self>, Doubt> {
        let Some(rest) = word.trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix("<<")
        else {
            return Ok(None);
        };
        let (rest, chomp) = match rest.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let rest = rest.trim_start_matches(is_regular_space);
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        match lex::words(rest, true)?.as_slice() {
            [name] => Ok(Some(Self { name: name.clone(), chomp })),
            _ => Ok(None),
        }
    }
}

/// Whether an argument of `COPY` or `ADD` is a text in the Dockerfile itself.
pub(super) fn is_heredoc(argument: &str) -> Result<bool, Doubt> {
    Heredoc::parse(argument).map(|heredoc| heredoc.is_some())
}

fn heredocs(line: &str) -> Result<Vec<Heredoc>, Doubt> {
    match lex::raw_words(line) {
        Ok(words) => words.iter().filter_map(|word| Heredoc::parse(word).transpose()).collect(),
        // BuildKit sees no heredoc in a line with an open quote.
        Err(lex::Failure::Refused) => Ok(Vec::new()),
        Err(failure) => Err(failure.into()),
    }
}

fn skip_heredoc(lines: &mut Lines<'_>, heredoc: &Heredoc) -> Result<(), Doubt> {
    for line in lines {
        let line = trim_newline(line);
        let line = if heredoc.chomp { line.trim_start_matches('\t') } else { line };
        if line == heredoc.name {
            return Ok(());
        }
    }
    Err(Doubt::of(format!("the text `{}` in it has no end", heredoc.name)))
}
