//! Files of variables in lines `NAME=value`, as the package `dotenv` reads them that Garden uses (16 with 0.12 and 0.13, 17
//! with 0.14, which read alike).
//!
//! The package finds assignments with one regular expression, and passes over whatever is none. That is kept here, as only
//! the same expression finds the same in a line that nobody meant.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::Position;
use crate::document::node::{Entry, Mapping, Node, Value};

/// What JavaScript's `\s` matches, as the inside of a class.
macro_rules! blank {
    () => {
        r"\t\n\x0B\x0C\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}"
    };
}

/// `LINE` of the package's `lib/main.js`, with JavaScript's classes written out. To JavaScript, a line also begins behind the separators
/// U+2028 and U+2029 and ends before them. Here that is only said by matching them: at the end as a group of its own, as they can begin
/// the next line still.
const LINE: &str = concat!(
    r"(?m)(?:^|[\u{2028}\u{2029}])[",
    blank!(),
    r"]*(?:export[",
    blank!(),
    r"]+)?([A-Za-z0-9_.-]+)(?:[",
    blank!(),
    r"]*=[",
    blank!(),
    r"]*?|:[",
    blank!(),
    r"]+?)([",
    blank!(),
    r#"]*'(?:\\'|[^'])*'|["#,
    blank!(),
    r#"]*"(?:\\"|[^"])*"|["#,
    blank!(),
    r"]*`(?:\\`|[^`])*`|[^#\r\n]+)?[",
    blank!(),
    r"]*(?:#[^\n\r\u{2028}\u{2029}]*)?(?:$|([\u{2028}\u{2029}]))",
);

#[expect(clippy::expect_used, reason = "the expression is a constant that every test of this file compiles")]
static ASSIGNMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(LINE).expect("a regular expression"));

/// Reads the assignments of a file, without their places; the last one of a name counts.
pub(super) fn parse(text: &str) -> Node {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut merged = mapping(Vec::new());
    merged.merge(&mapping(assignments(&text).map(|found| entry(&found)).collect()));
    merged
}

/// Finds all assignments, one after the other.
fn assignments(text: &str) -> impl Iterator<Item = Captures<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let found = ASSIGNMENT.captures_at(text, start)?;
        let end = found.get_match().end();
        start = found.get(3).map_or(end, |separator| separator.start());
        // A separator that blanks have taken already begins a line all the same.
        let before = text[..start].chars().next_back();
        start -= before.filter(|it| matches!(it, '\u{2028}' | '\u{2029}')).map_or(0, char::len_utf8);
        Some(found)
    })
}

fn entry(found: &Captures<'_>) -> Entry {
    let text = |group| found.get(group).map_or("", |text| text.as_str());
    let position = Position::START;
    let value = Node { position, value: Value::String(value(text(2))) };
    Entry { key: text(1).to_owned(), key_position: position, value }
}

/// Takes the quotes off a value; only in double ones, `\n` and `\r` are line breaks.
fn value(written: &str) -> String {
    let blank =
        |character: char| character.is_whitespace() && character != '\u{85}' || character == '\u{feff}';
    let trimmed = written.trim_matches(blank);
    let value = without_quotes(trimmed);
    if trimmed.starts_with('"') { value.replace("\\n", "\n").replace("\\r", "\r") } else { value }
}

/// Takes away a quote at the start of a line, together with the last such quote at the end of one, as the package does with an
/// expression that knows several lines. Where there is more than one, that is seldom what its author meant.
fn without_quotes(text: &str) -> String {
    const SEPARATORS: [char; 3] = ['\n', '\u{2028}', '\u{2029}'];
    let is_at_an_end = |at: usize| text[at..].is_empty() || text[at..].starts_with(SEPARATORS);
    let closing = ['\'', '"', '`'].map(|quote| {
        let last = text.rmatch_indices(quote).find(|(at, _)| is_at_an_end(at + 1));
        (quote, last.map(|(at, _)| at))
    });
    let line_starts = text.match_indices(SEPARATORS).map(|(at, separator)| at + separator.len());
    let (mut unquoted, mut done) = (String::new(), 0);
    for start in std::iter::once(0).chain(line_starts) {
        let opened = closing.iter().find(|(quote, _)| text[start..].starts_with(*quote));
        let closed = opened.and_then(|(_, closed)| *closed).filter(|closed| *closed > start);
        if let Some(closed) = closed.filter(|_| start >= done) {
            unquoted.push_str(&text[done..start]);
            unquoted.push_str(&text[start + 1..closed]);
            done = closed + 1;
        }
    }
    unquoted + &text[done..]
}

fn mapping(entries: Vec<Entry>) -> Node {
    Node { position: Position::START, value: Value::Mapping(Mapping(entries)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use garden_test_programs::cpu_time;
    use serde_json::Value as Json;

    use super::*;

    /// Texts, and what `require("dotenv").parse(text)` makes of them in Node.js 20: made once with the versions 16.4.5 and
    /// 17.3.1, which agree on all. The first hundred were written, the others mixed at random from names, signs, quotes, escapes
    /// and blanks, and the last two hundred from separators of lines, too.
    const DOTENV: &str = include_str!("dotenv.json");

    #[test]
    fn agrees_with_the_package() {
        let vectors: Vec<(String, Json)> = serde_json::from_str(DOTENV).expect("vectors");
        assert!(vectors.len() > 400);
        for (text, expected) in vectors {
            assert_eq!(parse(&text).to_json(), expected, "{text:?}");
        }
    }

    #[test]
    fn takes_time_in_proportion_to_the_text() {
        for piece in [
            "\n",
            "A=\"\\\"y\n",
            "A='\n",
            "A=\"x\" y\n",
            "A=\n",
            "x\n",
            "A=`",
            "\\\"",
            "A: '",
            "export ",
            "A=1\n",
            "\u{2028}",
            "A=\"1\"\u{2028}",
            "A=\u{2029}",
            "A=1 #\u{2028}",
        ] {
            let text = piece.repeat(128 * 1024 / piece.len());
            let begun = cpu_time();
            parse(&text);
            let taken = cpu_time().saturating_sub(begun);
            assert!(taken < Duration::from_secs(10), "{piece:?} takes {taken:?}");
        }
    }
}
