//! Files of variables in lines `NAME=value`, as the package `dotenv` reads them that Garden uses (16 with 0.12 and 0.13, 17
//! with 0.14, which read alike).
//!
//! The package finds assignments with one regular expression, and passes over whatever is none. That is kept here, as only
//! the same expression finds the same in a line that nobody meant.

use std::sync::LazyLock;

use regex::Regex;

use crate::Position;
use crate::document::node::{Entry, Mapping, Node, Value};

/// What JavaScript's `\s` matches, as the inside of a class.
macro_rules! blank {
    () => {
        r"\t\n\x0B\x0C\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}"
    };
}

/// `LINE` of the package's `lib/main.js`, with JavaScript's classes written out.
const LINE: &str = concat!(
    "(?m)^[",
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
    r"]*(?:#[^\n\r\u{2028}\u{2029}]*)?$",
);

#[expect(clippy::expect_used, reason = "the expression is a constant that every test of this file compiles")]
static ASSIGNMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(LINE).expect("a regular expression"));

/// Reads the assignments of a file, without their places; the last one of a name counts.
pub(super) fn parse(text: &str) -> Node {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut merged = mapping(Vec::new());
    let entries = ASSIGNMENT.captures_iter(&text).filter_map(|found| {
        let position = Position::START;
        let value = Value::String(value(found.get(2).map_or("", |value| value.as_str())));
        let value = Node { position, value };
        Some(Entry { key: found.get(1)?.as_str().to_owned(), key_position: position, value })
    });
    merged.merge(&mapping(entries.collect()));
    merged
}

/// Takes the quotes off a value; only in double ones, `\n` and `\r` are line breaks.
fn value(written: &str) -> String {
    let blank =
        |character: char| character.is_whitespace() && character != '\u{85}' || character == '\u{feff}';
    let trimmed = written.trim_matches(blank);
    let quote = trimmed.chars().next().filter(|first| matches!(first, '\'' | '"' | '`'));
    let inner = quote.and_then(|quote| trimmed.strip_prefix(quote)?.strip_suffix(quote));
    let value = inner.unwrap_or(trimmed);
    if quote == Some('"') { value.replace("\\n", "\n").replace("\\r", "\r") } else { value.to_owned() }
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
    /// and blanks.
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
        ] {
            let text = piece.repeat(128 * 1024 / piece.len());
            let begun = cpu_time();
            parse(&text);
            let taken = cpu_time().saturating_sub(begun);
            assert!(taken < Duration::from_secs(10), "{piece:?} takes {taken:?}");
        }
    }
}
