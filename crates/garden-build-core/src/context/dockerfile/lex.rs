//! Words of a Dockerfile: quotes, escapes and variables, read as `BuildKit` does
//! (`frontend/dockerfile/shell/lex.go` of v0.26).
//!
//! Why: docs/decisions/10-nothing-recurses-without-a-bound.md

use std::iter::Peekable;
use std::str::Chars;

use super::Doubt;

/// How deep variables may be nested in one another (`${A:-${B:-…}}`). The reader calls itself for each level, on a stack
/// that may be small, and nobody writes so many.
const MAX_DEPTH: usize = 16;

/// The longest value that counts, in bytes: that of the longest path. Variables of variables could grow without end.
const MAX_LENGTH: usize = 4096;

/// What is known of a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value<'v> {
    Set(&'v str),
    Unset,
    /// It may be set or not, and to anything.
    Unknown,
}

/// Why a word has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// `BuildKit` refuses the word.
    Refused,
    /// What `BuildKit` makes of it is not known here.
    Unknown,
}

impl From<Failure> for Doubt {
    fn from(failure: Failure) -> Self {
        Self::of(match failure {
            Failure::Refused => "a word of it is malformed",
            Failure::Unknown => "a word of it is unusual",
        })
    }
}

/// Replaces the variables of `word`, and takes quotes and escapes away.
pub(super) fn expand<'v>(
    word: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Value<'v>,
) -> Result<String, Failure> {
    let style =
        Style { escape, raw_quotes: false, raw_escapes: false, keeps_unset: false, limit: MAX_LENGTH };
    Lexer::new(word, style, lookup).until(None).map(|(word, _)| word)
}

/// Splits a line at its spaces and leaves quotes, escapes and variables as they are.
pub(super) fn raw_words(line: &str) -> Result<Vec<String>, Failure> {
    let style =
        Style { escape: '\\', raw_quotes: true, raw_escapes: true, keeps_unset: true, limit: usize::MAX };
    Lexer::new(line, style, &|_| Value::Unset).until(None).map(|(_, words)| words)
}

/// Splits a line at its spaces and takes escapes away, and quotes if `unquoted`.
pub(super) fn words(line: &str, unquoted: bool) -> Result<Vec<String>, Failure> {
    let style = Style {
        escape: '\\',
        raw_quotes: !unquoted,
        raw_escapes: false,
        keeps_unset: true,
        limit: usize::MAX,
    };
    Lexer::new(line, style, &|_| Value::Unset).until(None).map(|(_, words)| words)
}

#[derive(Clone, Copy)]
struct Style {
    escape: char,
    raw_quotes: bool,
    raw_escapes: bool,
    /// Variables that are not set stay as they are written.
    keeps_unset: bool,
    /// How long the result may become.
    limit: usize,
}

struct Lexer<'w, 'l, 'v> {
    text: Peekable<Chars<'w>>,
    style: Style,
    lookup: &'l dyn Fn(&str) -> Value<'v>,
    /// How many variables are open.
    depth: usize,
    /// The word that has begun. There is one for all levels of nesting, and each level begins by clearing
    /// it: so does `BuildKit`, and heredocs are found in what comes out.
    word: String,
}

/// Collects words on one level of nesting.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    in_word: bool,
}

impl Words {
    fn add(&mut self, buffer: &mut String, text: &str) {
        for character in text.chars() {
            if !character.is_whitespace() {
                buffer.push(character);
                self.in_word = true;
            } else if self.in_word && !buffer.is_empty() {
                self.done.push(std::mem::take(buffer));
                self.in_word = false;
            }
        }
    }

    fn add_raw(&mut self, buffer: &mut String, text: &str) {
        buffer.push_str(text);
        self.in_word = true;
    }

    fn finish(mut self, buffer: &mut String) -> Vec<String> {
        if !buffer.is_empty() {
            self.done.push(std::mem::take(buffer));
        }
        self.done
    }
}

impl<'w, 'l, 'v> Lexer<'w, 'l, 'v> {
    fn new(text: &'w str, style: Style, lookup: &'l dyn Fn(&str) -> Value<'v>) -> Self {
        Self { text: text.chars().peekable(), style, lookup, depth: 0, word: String::new() }
    }

    /// Reads up to `stop`, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), Failure> {
        let mut result = String::new();
        let mut words = Words::default();
        self.word.clear();
        while let Some(&character) = self.text.peek() {
            if stop == Some(character) {
                self.text.next();
                return Ok((result, words.finish(&mut self.word)));
            }
            let special = match character {
                '$' => Some(self.variable()?),
                '<' => Some(self.possible_heredoc()),
                '\'' => Some(self.single_quoted()?),
                '"' => Some(self.double_quoted()?),
                _ => None,
            };
            if let Some(text) = special {
                result.push_str(&text);
                self.check_length(&result)?;
                if character == '$' {
                    words.add(&mut self.word, &text);
                } else {
                    words.add_raw(&mut self.word, &text);
                }
                continue;
            }
            self.text.next();
            if character != self.style.escape {
                words.add(&mut self.word, character.encode_utf8(&mut [0; 4]));
                result.push(character);
                continue;
            }
            if self.style.raw_escapes {
                words.add_raw(&mut self.word, character.encode_utf8(&mut [0; 4]));
                result.push(character);
            }
            let Some(escaped) = self.text.next() else { break };
            words.add_raw(&mut self.word, escaped.encode_utf8(&mut [0; 4]));
            result.push(escaped);
        }
        match stop {
            Some(_) => Err(Failure::Refused),
            None => Ok((result, words.finish(&mut self.word))),
        }
    }

    fn until_with_raw_escapes(&mut self, stop: char, raw: bool) -> Result<String, Failure> {
        if self.depth == MAX_DEPTH {
            return Err(Failure::Unknown);
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.style.raw_escapes, raw);
        let result = self.until(Some(stop)).map(|(text, _)| text);
        self.style.raw_escapes = before;
        self.depth -= 1;
        result
    }

    fn single_quoted(&mut self) -> Result<String, Failure> {
        self.text.next();
        let mut result = String::new();
        loop {
            match self.text.next() {
                None => return Err(Failure::Refused),
                Some('\'') if self.style.raw_quotes => return Ok(format!("'{result}'")),
                Some('\'') => return Ok(result),
                Some(character) => result.push(character),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, Failure> {
        let mut result = String::new();
        self.text.next();
        if self.style.raw_quotes {
            result.push('"');
        }
        loop {
            match self.text.peek() {
                None => return Err(Failure::Refused),
                Some('"') => {
                    self.text.next();
                    if self.style.raw_quotes {
                        result.push('"');
                    }
                    return Ok(result);
                }
                Some('$') => {
                    result.push_str(&self.variable()?);
                    self.check_length(&result)?;
                }
                Some(&character) => {
                    self.text.next();
                    let mut character = character;
                    if character == self.style.escape {
                        if self.style.raw_escapes {
                            result.push(character);
                        }
                        match self.text.peek() {
                            None => continue,
                            Some(&next) if next == '"' || next == '$' || next == self.style.escape => {
                                self.text.next();
                                character = next;
                            }
                            Some(_) => {}
                        }
                    }
                    result.push(character);
                }
            }
        }
    }

    /// Reads a variable, which begins with `$`.
    fn variable(&mut self) -> Result<String, Failure> {
        self.text.next();
        if self.text.peek() != Some(&'{') {
            let name = self.name()?;
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return match self.value(&name)? {
                Some(value) => Ok(value),
                None if self.style.keeps_unset => Ok(format!("${name}")),
                None => Ok(String::new()),
            };
        }
        self.text.next();
        if matches!(self.text.peek(), None | Some('{' | '}' | ':')) {
            return Err(Failure::Refused);
        }
        let name = self.name()?;
        let mut modifier = self.text.next().ok_or(Failure::Refused)?;
        let null_is_unset = modifier == ':';
        if modifier == '}' {
            return match self.value(&name)? {
                Some(value) => Ok(value),
                None if self.style.keeps_unset => Ok(format!("${{{name}}}")),
                None => Ok(String::new()),
            };
        }
        if null_is_unset {
            modifier = self.text.next().ok_or(Failure::Refused)?;
        }
        let colon = if null_is_unset { ":" } else { "" };
        match modifier {
            '/' if !null_is_unset => {
                // BuildKit forgets the second slash of `//` as well.
                self.text.next_if_eq(&'/');
                let pattern = self.until_with_raw_escapes('/', true)?;
                let replacement = self.until_with_raw_escapes('}', true)?;
                self.only_if_kept(&name, format!("${{{name}/{pattern}/{replacement}}}"))
            }
            '#' | '%' if null_is_unset => Err(Failure::Refused),
            '#' | '%' => {
                let word = self.until_with_raw_escapes('}', true)?;
                self.only_if_kept(&name, format!("${{{name}{modifier}{word}}}"))
            }
            '+' | '-' | '?' => {
                let word = self.until_with_raw_escapes('}', false)?;
                let value = self.value(&name)?;
                if value.is_none() && self.style.keeps_unset {
                    return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
                }
                let value = value.filter(|value| !(null_is_unset && value.is_empty()));
                match (modifier, value) {
                    ('-' | '?', Some(value)) => Ok(value),
                    ('-', None) | ('+', Some(_)) => Ok(word),
                    ('+', None) => Ok(String::new()),
                    _ => Err(Failure::Refused),
                }
            }
            // BuildKit reads on before it refuses a modifier after a colon, but refuses it in any case.
            _ => Err(Failure::Refused),
        }
    }

    /// The text of a variable with a pattern in it, which is only known if the variable stays as it is.
    fn only_if_kept(&self, name: &str, text: String) -> Result<String, Failure> {
        match self.value(name)? {
            None if self.style.keeps_unset => Ok(text),
            None => Ok(String::new()),
            Some(_) => Err(Failure::Unknown),
        }
    }

    fn check_length(&self, result: &str) -> Result<(), Failure> {
        if result.len() > self.style.limit { Err(Failure::Unknown) } else { Ok(()) }
    }

    fn value(&self, name: &str) -> Result<Option<String>, Failure> {
        match (self.lookup)(name) {
            Value::Set(value) => Ok(Some(value.to_owned())),
            Value::Unset => Ok(None),
            Value::Unknown => Err(Failure::Unknown),
        }
    }

    fn name(&mut self) -> Result<String, Failure> {
        let mut name = String::new();
        while let Some(&character) = self.text.peek() {
            // Rust and Go need not agree on what else is a letter. It does not matter to what stays as it is.
            if !character.is_ascii() && !self.style.keeps_unset {
                return Err(Failure::Unknown);
            }
            if name.is_empty() && character.is_ascii_digit() {
                while let Some(digit) = self.text.next_if(char::is_ascii_digit) {
                    name.push(digit);
                }
                return Ok(name);
            }
            if name.is_empty() && "@*#?-$!".contains(character) {
                self.text.next();
                return Ok(character.to_string());
            }
            if !character.is_alphanumeric() && character != '_' {
                break;
            }
            self.text.next();
            name.push(character);
        }
        Ok(name)
    }

    fn possible_heredoc(&mut self) -> String {
        self.text.next();
        if self.text.next_if_eq(&'<').is_none() {
            return "<".to_owned();
        }
        let mut result = "<<".to_owned();
        while let Some(space) = self.text.next_if(|next| matches!(next, '\t' | '\r' | ' ')) {
            result.push(space);
        }
        result
    }
}
