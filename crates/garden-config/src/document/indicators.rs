//! Signs with which a plain text cannot begin, as YAML takes them for something else.

use crate::Position;

/// What to do if the text at `position`, where the parser has stopped, begins with such a sign. Globs and names in messages often
/// do: `*.txt`, `@scope/name`.
pub(crate) fn hint(source: &str, position: Position) -> Option<String> {
    let line = source.lines().nth(position.line.checked_sub(1)?)?;
    let mut rest = line.chars().skip(position.column.checked_sub(1)?);
    // Some problems are reported where the value's entry or item begins.
    let sign = rest.find(|character| !matches!(character, ' ' | '-' | '[' | ','))?;
    let meaning = match sign {
        '*' => "begins an alias",
        '&' => "begins an anchor",
        '!' => "begins a tag",
        '%' => "begins a directive",
        '@' => "is reserved",
        '`' => return Some("a back quote is reserved; write the text in quotes".to_owned()),
        _ => return None,
    };
    Some(format!("`{sign}` {meaning}; write the text in quotes"))
}
