//! What Garden, being written in JavaScript, makes of values.

use serde_json::{Number, Value};

/// What the value is, as a message says it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "`null`",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// What `typeof` says.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => "object",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
    }
}

/// Whether the value counts as true. Empty lists and mappings do.
pub(crate) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// Whether the value is a list or a mapping.
pub(crate) fn is_collection(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

/// Whether two values are the same, if they can be compared: of two collections, Garden only asks
/// whether they are one and the same.
pub(crate) fn equal(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            Some(left == right || left.as_f64() == right.as_f64() && !(left.is_i64() && right.is_i64()))
        }
        _ if is_collection(left) && is_collection(right) => None,
        _ => Some(left == right),
    }
}

/// The value as it is printed within a text; lists and mappings cannot be.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number_text(number)),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

/// A finite number as JavaScript prints it: the fewest digits that tell it from others, with an
/// exponent if it is very large or very small (ECMA-262, `Number::toString`).
pub(crate) fn float_text(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits = mantissa.replace('.', "");
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let sign = if number < 0.0 { "-" } else { "" };
    match exponent {
        0..21 => {
            let whole = usize::try_from(exponent + 1).unwrap_or_default();
            match digits.split_at_checked(whole) {
                Some((integer, "")) => format!("{sign}{integer}"),
                Some((integer, fraction)) => format!("{sign}{integer}.{fraction}"),
                None => format!("{sign}{digits}{}", "0".repeat(whole - digits.len())),
            }
        }
        -6..0 => format!("{sign}0.{}{digits}", zeros(-exponent - 1)),
        _ => format!("{sign}{mantissa}e{exponent:+}"),
    }
}

/// The number as a value: an integer if it is whole, so that `4 / 2` can stand where an integer must;
/// nothing if it is not finite.
pub(crate) fn number(number: f64) -> Option<Value> {
    let finite = Number::from_f64(number)?;
    Some(float_text(number).parse::<i64>().map_or(Value::Number(finite), Value::from))
}

/// The value with each number in it as [`number`] makes it, so that `1.0` is `1`, wherever it is written.
pub(crate) fn with_numbers_of_javascript(value: Value) -> Value {
    match value {
        Value::Number(written) => written.as_f64().and_then(number).unwrap_or(Value::Number(written)),
        Value::Array(items) => items.into_iter().map(with_numbers_of_javascript).collect(),
        Value::Object(entries) => {
            entries.into_iter().map(|(key, value)| (key, with_numbers_of_javascript(value))).collect()
        }
        other => other,
    }
}

/// The number as an integer, if it is whole.
pub(crate) fn as_integer(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| float_text(number.as_f64()?).parse().ok())
}

/// Whether JavaScript's `\s` matches the character.
pub(crate) fn is_blank(character: char) -> bool {
    character.is_whitespace() && character != '\u{85}' || character == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::float_text;

    #[test]
    fn prints_numbers_as_javascript_does() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100.0, "100"),
            (123_456.789, "123456.789"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.000_001, "0.000001"),
            (0.000_001_5, "0.0000015"),
            (0.000_000_1, "1e-7"),
            (-0.000_000_123, "-1.23e-7"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(float_text(number), expected);
        }
    }
}
