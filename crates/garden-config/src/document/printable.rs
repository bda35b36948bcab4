//! What of a file can be shown.
//!
//! A terminal obeys control characters, and shows what follows a bidi control in another order, so that a
//! text reads as something that it is not. Neither reaches a message: a project file may come with any
//! repository.

use std::sync::Arc;

/// Longer messages, in characters, are cut in their middle. Only a value that nobody would read makes one so long.
const LONGEST: usize = 2000;

/// Whether a character does something else than being seen: controls, the separators of lines and
/// paragraphs, and those that change the direction of what follows.
fn is_harmful(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Makes a message of one line, with escapes for what must not be shown.
pub(crate) fn message(text: String) -> String {
    let text = if text.contains(is_harmful) { escaped(&text) } else { text };
    shortened(text)
}

fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn shortened(text: String) -> String {
    const HALF: usize = LONGEST / 2;
    let length = text.chars().count();
    if length <= LONGEST {
        return text;
    }
    text.chars().take(HALF).chain(['…']).chain(text.chars().skip(length - HALF)).collect()
}

/// The character that is shown in place of `character` in a line of a file. One for each, so that columns
/// stay true.
pub(crate) fn in_line(character: char) -> char {
    match character {
        '\t' => ' ',
        _ if is_harmful(character) => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

/// A file as it can be shown: the same lines and columns, with U+FFFD for what must not be.
pub(crate) fn file(text: Arc<str>) -> Arc<str> {
    let harmful = |character: char| !matches!(character, '\t' | '\n' | '\r') && is_harmful(character);
    if !text.contains(harmful) {
        return text;
    }
    let shown = text.chars().map(|it| if harmful(it) { char::REPLACEMENT_CHARACTER } else { it });
    shown.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_anything_that_acts() {
        for (text, shown) in [
            ("`höhe` is fine", "`höhe` is fine"),
            ("`a\u{1b}[31m\n`", "`a\\u{1b}[31m\\n`"),
            ("`\u{202e}a\u{2066}\u{2028}`", "`\\u{202e}a\\u{2066}\\u{2028}`"),
        ] {
            assert_eq!(message(text.to_owned()), shown);
        }
    }

    #[test]
    fn a_long_message_keeps_its_start_and_its_end() {
        let long = message(format!("`{}` is wrong", "ü".repeat(LONGEST)));
        assert!(
            long.chars().count() == LONGEST + 1 && long.starts_with("`ü") && long.ends_with("ü` is wrong"),
            "{long}"
        );
    }

    #[test]
    fn a_file_keeps_its_lines_and_columns() {
        assert_eq!(file("a\t\u{1b}\u{202e}b\n".into()).as_ref(), "a\t\u{fffd}\u{fffd}b\n");
    }
}
