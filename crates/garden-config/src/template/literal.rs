//! Texts in quotes and numbers.

use std::str::Chars;

use serde_json::Value;

use super::Fault;
use crate::javascript;

/// Reads a number as it is written: `12`, `1.5e3`, `0xff`.
pub(super) fn number(written: &str) -> Result<Value, Fault> {
    let hexadecimal = written.strip_prefix("0x").or_else(|| written.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(Value::from),
        None => written.parse().ok().and_then(javascript::number),
    };
    number.ok_or_else(|| Fault::new(format!("`{written}` is too large a number")))
}

/// Reads what stands between two quotes, with JavaScript's escapes.
pub(super) fn unescape(content: &str) -> Result<String, Fault> {
    let mut text = String::with_capacity(content.len());
    let mut rest = content.chars();
    while let Some(character) = rest.next() {
        if character == '\\' {
            text.extend(escape(&mut rest)?);
        } else {
            text.push(character);
        }
    }
    Ok(text)
}

/// Reads what follows a backslash. One at the end of a line joins it with the next.
fn escape(rest: &mut Chars<'_>) -> Result<Option<char>, Fault> {
    let Some(escape) = rest.next() else { return Ok(None) };
    let character = match escape {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '0' if !rest.as_str().starts_with(|next: char| next.is_ascii_digit()) => '\0',
        '0'..='9' => return Err(no_escape(&escape.to_string())),
        'x' => char::from_u32(hexadecimal(rest, "x", 2)?).ok_or_else(|| no_escape("x"))?,
        'u' => utf_16(rest)?,
        '\r' => {
            let mut following = rest.clone();
            if following.next() == Some('\n') {
                *rest = following;
            }
            return Ok(None);
        }
        '\n' | '\u{2028}' | '\u{2029}' => return Ok(None),
        other => other,
    };
    Ok(Some(character))
}

/// Reads what follows `\u`; characters beyond U+FFFF are written as two escapes.
fn utf_16(rest: &mut Chars<'_>) -> Result<char, Fault> {
    let unit = hexadecimal(rest, "u", 4)?;
    if let Some(character) = char::from_u32(unit) {
        return Ok(character);
    }
    let mut following = rest.clone();
    let second = match (following.next(), following.next()) {
        (Some('\\'), Some('u')) => hexadecimal(&mut following, "u", 4)?,
        _ => 0,
    };
    *rest = following;
    let units = [unit, second].map(|unit| u16::try_from(unit).unwrap_or_default());
    match char::decode_utf16(units).next() {
        Some(Ok(character)) => Ok(character),
        _ => Err(Fault::new(format!("`\\u{unit:04x}` is only half of a character"))),
    }
}

fn hexadecimal(rest: &mut Chars<'_>, escape: &str, length: usize) -> Result<u32, Fault> {
    let digits: String = rest.by_ref().take(length).collect();
    let valid = digits.len() == length && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    let number = valid.then(|| u32::from_str_radix(&digits, 16).ok()).flatten();
    number.ok_or_else(|| no_escape(&format!("{escape}{digits}")))
}

fn no_escape(escape: &str) -> Fault {
    Fault::new(format!("`\\{escape}` is not an escape")).hint("a backslash itself is written `\\\\`")
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn reads_the_escapes_of_javascript() {
        for (written, expected) in [
            (r"plain ü", "plain ü"),
            (r#"\'\"\\\b\f\n\r\t\v\0"#, "'\"\\\u{8}\u{c}\n\r\t\u{b}\0"),
            (r"\x41\xfc\u00dF\u{", "A"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\q\$\{", "q${"),
            ("a\\\nb\\\r\nc\\\rd", "abcd"),
        ] {
            match unescape(written) {
                Ok(text) => assert_eq!(text, expected),
                Err(fault) => assert_eq!(fault.message, r"`\u{` is not an escape"),
            }
        }
        for (written, message) in [
            (r"\x4", r"`\x4` is not an escape"),
            (r"\xüü", r"`\xüü` is not an escape"),
            (r"\u+123", r"`\u+123` is not an escape"),
            (r"\7", r"`\7` is not an escape"),
            (r"\01", r"`\0` is not an escape"),
            (r"\ud83d", r"`\ud83d` is only half of a character"),
            (r"\ud83d\u0041", r"`\ud83d` is only half of a character"),
        ] {
            assert_eq!(unescape(written).expect_err(written).message, message);
        }
    }
}
