//! Functions of lists, most of which take texts as well.

use serde_json::Value;

use super::{Arguments, texts};
use crate::javascript::{self, as_integer};
use crate::template::{Fault, TemplateProblem};

type Called = Result<Value, TemplateProblem>;

/// `concat(arg1, arg2)`: two lists or two texts in a row.
pub(super) fn concat(arguments: &Arguments<'_>) -> Called {
    match (arguments.value(0), arguments.value(1)) {
        (Value::Array(first), Value::Array(second)) => Ok([first.as_slice(), second].concat().into()),
        (Value::String(first), Value::String(second)) => Ok(format!("{first}{second}").into()),
        (Value::Array(_), _) => Err(arguments.wrong_kind(1, "a list, as the first is")),
        (Value::String(_), _) => Err(arguments.wrong_kind(1, "text, as the first is")),
        _ => Err(arguments.wrong_kind(0, "a list or text")),
    }
}

/// `isEmpty(value)`: whether it is an empty text, list or mapping, `null` or missing.
pub(super) fn is_empty(arguments: &Arguments<'_>) -> Called {
    match arguments.value(0) {
        Value::Null => Ok(true.into()),
        Value::String(text) => Ok(text.is_empty().into()),
        Value::Array(items) => Ok(items.is_empty().into()),
        Value::Object(entries) => Ok(entries.is_empty().into()),
        _ => Err(arguments.wrong_kind(0, "text, a list or a mapping")),
    }
}

/// `join(input, separator)`: the items with the separator between them. As in JavaScript, `null` is
/// printed as nothing.
pub(super) fn join(arguments: &Arguments<'_>) -> Called {
    let (items, separator) = (arguments.list(0)?, arguments.text(1)?);
    let texts = items.iter().map(|item| match item {
        Value::Null => Ok(String::new()),
        item => javascript::text(item).ok_or_else(|| {
            arguments
                .wrong(0, &format!("cannot hold {}, only text, numbers and booleans", javascript::kind(item)))
        }),
    });
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    let joined = texts::join(texts.iter().map(String::as_str), separator);
    joined.map_err(|fault| arguments.problem(fault))
}

/// `range(first, last)`: the numbers from one to the other. Garden counts down if `last` is the
/// smaller, but stops early.
pub(super) fn range(arguments: &Arguments<'_>) -> Called {
    const MOST: i64 = 10_000;
    let (first, last) = (arguments.integer(0)?, arguments.integer(1)?);
    if last.saturating_sub(first) >= MOST {
        return Err(arguments.problem(Fault::new(format!("`range` gives at most {MOST} numbers"))));
    }
    // Nothing before the first is the empty range.
    if last < first.saturating_sub(1) {
        return Err(arguments.wrong(1, "must not be less than `first`"));
    }
    Ok((first..=last).map(Value::from).collect())
}

/// `slice(input, start, [end])`: the characters or items from `start` up to and without `end`, both
/// counted from 0, or from the end if they are negative. Numbers may be given as text.
///
/// As in Garden, an `end` of 0 is the same as none, and characters are counted in units of UTF-16, of
/// which most have one and emoji have two. A cut in the middle of a character leaves it out, where
/// Garden keeps a half that cannot be printed. A text must be a whole number, where Garden takes it up
/// to its first letter.
pub(super) fn slice(arguments: &Arguments<'_>) -> Called {
    let start = index(arguments, 1)?;
    let end = if arguments.is_given(2) { Some(index(arguments, 2)?) } else { None };
    let end = end.filter(|end| *end != 0);
    match arguments.value(0) {
        Value::Array(items) => {
            let (start, end) = bounds(items.len(), start, end);
            Ok(items[start..end].into())
        }
        Value::String(text) => {
            let (start, end) = bounds(text.encode_utf16().count(), start, end);
            Ok(slice_text(text, start, end).into())
        }
        _ => Err(arguments.wrong_kind(0, "text or a list")),
    }
}

fn index(arguments: &Arguments<'_>, index: usize) -> Result<i64, TemplateProblem> {
    let number = match arguments.value(index) {
        Value::Number(number) => as_integer(number),
        Value::String(text) => text.trim().parse().ok(),
        _ => return Err(arguments.wrong_kind(index, "a number")),
    };
    number.ok_or_else(|| arguments.wrong(index, "must be a whole number"))
}

/// The range within `0..=length`; empty rather than backwards.
fn bounds(length: usize, start: i64, end: Option<i64>) -> (usize, usize) {
    let position = |index: i64| {
        let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if index < 0 { length.saturating_sub(distance) } else { length.min(distance) }
    };
    let (start, end) = (position(start), end.map_or(length, position));
    (start, end.max(start))
}

/// The characters that lie within the units of UTF-16 from `start` to `end`.
fn slice_text(text: &str, start: usize, end: usize) -> String {
    let characters = text.chars().scan(0, |units, character| {
        let first = *units;
        *units += character.len_utf16();
        Some((first, *units, character))
    });
    let within = characters.filter(|(first, next, _)| *first >= start && *next <= end);
    within.map(|(_, _, character)| character).collect()
}
