//! Texts in the Dockerfile itself (`<<EOF`), as `BuildKit` reads them (`frontend/dockerfile/parser/parser.go` of v0.26).

use std::iter::Enumerate;
use std::str::Lines;

use super::Doubt;
use super::directives::is_regular_space;
use super::lex;
use super::lines::trim_newline;

/// A text in the Dockerfile itself: `<<NAME`, and the lines up to `NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Heredoc {
    pub(super) name: String,
    /// Tabs before the end mark are ignored (`<<-`).
    chomp: bool,
    /// The name is not quoted, so variables in the text are replaced.
    pub(super) is_expanded: bool,
    /// The lines, each with its end.
    pub(super) text: String,
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
            [name] => {
                let is_expanded = lex::words(rest, false)?.as_slice() == std::slice::from_ref(name);
                Ok(Some(Self { name: name.clone(), chomp, is_expanded, text: String::new() }))
            }
            _ => Ok(None),
        }
    }

    /// Takes the text from `lines`, and the end mark.
    pub(super) fn read(&mut self, lines: &mut Enumerate<Lines<'_>>) -> Result<(), Doubt> {
        for (_, line) in lines {
            let mark = trim_newline(line);
            let mark = if self.chomp { mark.trim_start_matches('\t') } else { mark };
            if mark == self.name {
                return Ok(());
            }
            self.text.push_str(line);
            self.text.push('\n');
        }
        Err(Doubt::of(format!("the text `{}` in it has no end", self.name)))
    }

    /// What a `#!` in the first line names, if there is one.
    pub(super) fn shebang(&self) -> Option<&str> {
        let text = if self.chomp { self.text.trim_start_matches('\t') } else { &self.text };
        text.lines().next()?.strip_prefix("#!").map(str::trim)
    }
}

/// Whether an argument is a text in the Dockerfile itself, and nothing else.
pub(super) fn is_heredoc(argument: &str) -> Result<bool, Doubt> {
    Heredoc::parse(argument).map(|heredoc| heredoc.is_some())
}

/// The texts that `line` begins, which follow it in this order.
pub(super) fn heredocs(line: &str) -> Result<Vec<Heredoc>, Doubt> {
    match lex::raw_words(line) {
        Ok(words) => words.iter().filter_map(|word| Heredoc::parse(word).transpose()).collect(),
        // BuildKit sees no heredoc in a line with an open quote.
        Err(lex::Failure::Refused) => Ok(Vec::new()),
        Err(failure) => Err(failure.into()),
    }
}
