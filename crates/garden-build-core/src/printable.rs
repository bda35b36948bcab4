//! Foreign text for people's terminals.
//!
//! Why: docs/decisions/24-foreign-text-is-made-harmless-when-shown.md

use std::fmt;

/// A text of somebody else's as it may be shown in a terminal: it cannot move the cursor, colour what follows, set a title, or turn the
/// direction of writing, and it looks like nothing else that is shown.
///
/// Colours are left out. Other control characters, and those that change the direction of writing, are shown as `\u{1b}`. The text itself stays
/// as it is where it is data.
///
/// [`Event`](crate::Event) and [`Error`](crate::Error) use it when they are shown. A front end that lays out their fields itself needs it for each
/// of them, as names, lines and messages are in the words of builders, registries and RUN steps:
///
/// ```
/// use garden_build_core::Printable;
///
/// assert_eq!(Printable::line("\u{1b}[31mred\u{1b}[0m \u{1b}[2J").to_string(), "red \\u{1b}[2J");
/// ```
///
/// Sources: ECMA-48, sections 5.3 and 5.4 (control sequences) and 8.3.117 (SGR); Unicode, UAX #9, section 2 (directional formatting
/// characters).
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a> {
    text: &'a str,
    /// What stands for the end of a line within the text.
    line_end: &'static str,
}

impl<'a> Printable<'a> {
    /// A text of one line: the end of a line is shown, too.
    pub fn line(text: &'a str) -> Self {
        Self { text, line_end: "\\n" }
    }

    /// A text of several lines, which stands alone.
    pub fn text(text: &'a str) -> Self {
        Self { text, line_end: "\n" }
    }

    /// A text that may have several lines. All but the first are indented, so that none looks like the beginning of something else.
    pub fn lines(text: &'a str) -> Self {
        Self { text, line_end: "\n   " }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text;
        while let Some(at) = rest.find(is_harmful) {
            let (harmless, from) = rest.split_at(at);
            f.write_str(harmless)?;
            if let Some(behind) = colour(from) {
                rest = behind;
                continue;
            }
            let mut characters = from.chars();
            match characters.next() {
                Some('\n') => f.write_str(self.line_end)?,
                Some(harmful) => write!(f, "{}", harmful.escape_unicode())?,
                None => {}
            }
            rest = characters.as_str();
        }
        f.write_str(rest)
    }
}

/// Returns what comes behind a control sequence that sets colours, if `text` begins with one.
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[").or_else(|| text.strip_prefix('\u{9b}'))?;
    let behind = parameters.trim_start_matches(|of: char| of.is_ascii_digit() || of == ';' || of == ':');
    behind.strip_prefix('m')
}

fn is_harmful(character: char) -> bool {
    match character {
        '\t' => false,
        // What is invisible and turns the direction of writing, ends a line, or hides.
        '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        _ => character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_reaches_the_terminal_but_what_can_be_read() {
        for (text, expected) in [
            ("plain, with ümlauts, 漢字, עברית and a\ttab", "plain, with ümlauts, 漢字, עברית and a\ttab"),
            ("\x1b[31mred\x1b[0m \x1b[1;38:5:9mbold\x1b[m", "red bold"),
            ("\u{9b}32mgreen", "green"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\x1b]52;c;cHduZWQ=\x1b\\", "\\u{1b}]52;c;cHduZWQ=\\u{1b}\\"),
            ("\x1b[31", "\\u{1b}[31"),
            ("over\rwritten\x08\x7f", "over\\u{d}written\\u{8}\\u{7f}"),
            ("a\u{202e}b\u{2066}c\u{200f}d\u{61c}", "a\\u{202e}b\\u{2066}c\\u{200f}d\\u{61c}"),
            ("two\nlines\u{85}\u{2028}", "two\\nlines\\u{85}\\u{2028}"),
            ("", ""),
        ] {
            assert_eq!(Printable::line(text).to_string(), expected, "{text:?}");
        }
        assert_eq!(Printable::lines("one\n=> two\n\x1b[H").to_string(), "one\n   => two\n   \\u{1b}[H");
    }

    #[test]
    fn many_sequences_take_no_time() {
        let text = "\x1b[1;2;3".repeat(100_000) + "\x1b[" + &"1;".repeat(500_000);
        assert!(Printable::line(&text).to_string().starts_with("\\u{1b}[1;2;3\\u{1b}"));
    }
}
