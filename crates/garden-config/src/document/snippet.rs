//! The line of a file that a problem is about.
//!
//! Why: docs/decisions/04-secret-lines-are-blanked-last.md

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Position;
use crate::document::printable;

/// A line of a file, and the word in it that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Snippet {
    /// The line without its end, each tab as one space, and as U+FFFD each control character and each that
    /// changes the direction of writing. A very long one is cut around the word.
    pub line: String,
    /// Where the word starts in `line`: a column in characters, counted from 1.
    pub column: usize,
    /// How many characters the word has; at least 1.
    pub length: usize,
}

impl Snippet {
    /// More of a line than this is not shown.
    const LONGEST: usize = 160;

    /// The line at `position` in `text`; `None` if the text has no such place.
    pub(crate) fn of(text: &str, position: Position) -> Option<Self> {
        let line = text.lines().nth(position.line.checked_sub(1)?)?;
        let start = position.column.checked_sub(1)?;
        let count = line.chars().count();
        if start > count || line.trim().is_empty() {
            return None;
        }
        // Some of what stands before the word, and the rest behind it. What is not shown is not looked at:
        // a line may be as long as a file.
        let from = if count <= Self::LONGEST { 0 } else { start.saturating_sub(Self::LONGEST / 2) };
        let characters: Vec<char> = line.chars().skip(from).take(Self::LONGEST).collect();
        let length = word_length(&characters[start - from..]).max(1);
        let line: String = characters.into_iter().map(printable::in_line).collect();
        Some(Self { line, column: start - from + 1, length })
    }

    /// The lines that show it, as line `number` of its file.
    pub(crate) fn at_line(&self, number: usize) -> String {
        let number = number.to_string();
        let margin = " ".repeat(number.len());
        let (offset, mark) = (" ".repeat(self.column - 1), "^".repeat(self.length));
        format!("  {number} | {}\n  {margin} | {offset}{mark}", self.line)
    }
}

/// Blanks the lines of those fields of `text` whose keys stand at `keys`: each up to the next line that
/// is not indented deeper than its key.
pub(crate) fn without(text: &Arc<str>, keys: &[Position]) -> Arc<str> {
    if keys.is_empty() {
        return Arc::clone(text);
    }
    let mut hidden: Option<usize> = None;
    let blanked = text.split_inclusive('\n').enumerate().map(|(index, line)| {
        let content = line.trim();
        let indentation = line.len() - line.trim_start_matches(' ').len();
        if hidden.is_some_and(|column| !content.is_empty() && indentation < column) {
            hidden = None;
        }
        if let Some(key) = keys.iter().find(|key| key.line == index + 1) {
            hidden = Some(hidden.map_or(key.column, |column| column.min(key.column)));
        }
        if hidden.is_some() {
            line.chars().filter(|it| matches!(it, '\r' | '\n')).collect()
        } else {
            line.to_owned()
        }
    });
    blanked.collect::<String>().into()
}

/// How many characters the YAML word at the start of `rest` has: a quoted text with its quotes, a key, or
/// a value up to what ends it.
fn word_length(rest: &[char]) -> usize {
    match rest.first() {
        None => 0,
        Some(quote @ ('"' | '\'')) => {
            let end = rest.iter().skip(1).position(|character| character == quote);
            end.map_or(rest.len(), |end| end + 2)
        }
        Some('[' | '{' | '|' | '>') => 1,
        Some(_) => {
            let ends = |index: &usize| match rest[*index] {
                ':' => rest.get(index + 1).is_none_or(|next| next.is_whitespace()),
                ',' | ']' | '}' => !inside_template(&rest[..*index]),
                '#' => *index > 0 && rest[index - 1].is_whitespace(),
                _ => false,
            };
            let end = (0..rest.len()).find(ends).unwrap_or(rest.len());
            let word = &rest[..end];
            end - word.iter().rev().take_while(|character| character.is_whitespace()).count()
        }
    }
}

/// Whether `before` ends within a `${…}`, whose brackets and commas belong to the word.
fn inside_template(before: &[char]) -> bool {
    let opened = before.windows(2).filter(|pair| *pair == ['$', '{']).count();
    opened > before.iter().filter(|character| **character == '}').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, line: usize, column: usize) -> String {
        let position = Position { line, column };
        Snippet::of(text, position).map(|snippet| snippet.at_line(line)).unwrap_or_default()
    }

    #[test]
    fn marks_the_word_that_starts_there() {
        for (line, column, mark) in [
            ("buildmode: kaniko", 1, "^^^^^^^^^"),
            ("a: kaniko # why", 4, "   ^^^^^^"),
            ("a: {b: x, c: y}", 8, "       ^"),
            ("a: {b: ${f(x, [y])}, c: y}", 8, "       ^^^^^^^^^^^^"),
            ("a: 'it is: x' # y", 4, "   ^^^^^^^^^^"),
            ("a: http://x#y", 4, "   ^^^^^^^^^^"),
            ("a: [x]", 4, "   ^"),
            ("- a: höhe", 6, "     ^^^^"),
            ("a:", 3, "  ^"),
        ] {
            assert_eq!(shown(line, 1, column), format!("  1 | {line}\n    | {mark}"), "{line}");
        }
    }

    #[test]
    fn shows_no_control_characters_and_not_all_of_a_long_line() {
        assert_eq!(shown("\ta: \u{1b}[31m\r\n", 1, 2), "  1 |  a: \u{fffd}[31m\n    |  ^");
        let long = format!("{}: wrong{}", "x".repeat(1000), "y".repeat(1000));
        let snippet = Snippet::of(&long, Position { line: 1, column: 1003 }).expect("snippet");
        assert_eq!(snippet.line.chars().count(), Snippet::LONGEST);
        assert_eq!(snippet.line.chars().skip(snippet.column - 1).take(5).collect::<String>(), "wrong");
        assert!(snippet.column + snippet.length - 1 <= Snippet::LONGEST);
    }

    #[test]
    fn hides_the_lines_of_a_secret_and_no_others() {
        let text: Arc<str> =
            "spec:\n  a: 1\n  secrets:\n    t: |\n      s3cret\n\n      more\n  b: 2\n- {secrets: {x: y}, c: d}\n- e".into();
        let keys = [Position { line: 3, column: 3 }, Position { line: 9, column: 4 }];
        assert_eq!(without(&text, &keys).as_ref(), "spec:\n  a: 1\n\n\n\n\n\n  b: 2\n\n- e");
        assert_eq!(without(&text, &[]), text);
    }

    #[test]
    fn a_place_that_the_text_does_not_have_has_none() {
        for (text, line, column) in [("", 1, 1), ("a\n\nb", 2, 1), ("a", 2, 1), ("a", 1, 3), ("a", 0, 1)] {
            assert_eq!(Snippet::of(text, Position { line, column }), None, "{text:?} {line}:{column}");
        }
    }
}
