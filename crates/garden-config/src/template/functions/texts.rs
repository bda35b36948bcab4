//! Functions of texts.

use serde_json::Value;

use super::{Arguments, words};
use crate::javascript::{self, is_blank};
use crate::template::limits::Text;
use crate::template::{Fault, TemplateProblem};

type Called = Result<Value, TemplateProblem>;

/// `kebabCase(string)`: `Foo Bar` becomes `foo-bar`.
pub(super) fn kebab_case(arguments: &Arguments<'_>) -> Called {
    Ok(words::kebab_case(arguments.text(0)?).into())
}

/// `camelCase(string)`: `Foo Bar` becomes `fooBar`.
pub(super) fn camel_case(arguments: &Arguments<'_>) -> Called {
    Ok(words::camel_case(arguments.text(0)?).into())
}

/// `lower(string)`.
pub(super) fn lower(arguments: &Arguments<'_>) -> Called {
    Ok(arguments.text(0)?.to_lowercase().into())
}

/// `upper(string)`.
pub(super) fn upper(arguments: &Arguments<'_>) -> Called {
    Ok(arguments.text(0)?.to_uppercase().into())
}

/// `trim(string, [characters])`: without white space, or the characters, at both ends.
pub(super) fn trim(arguments: &Arguments<'_>) -> Called {
    let text = arguments.text(0)?;
    let trimmed = if arguments.is_given(1) {
        let characters = arguments.text(1)?;
        text.trim_matches(|character| characters.contains(character))
    } else {
        text.trim_matches(is_blank)
    };
    Ok(trimmed.into())
}

/// `indent(string, spaces)`: with spaces before each line that is not blank.
pub(super) fn indent(arguments: &Arguments<'_>) -> Called {
    let text = arguments.text(0)?;
    let spaces = arguments.integer(1)?;
    let spaces = usize::try_from(spaces).map_err(|_| arguments.wrong(1, "must not be negative"))?;
    let mut indented = Text::default();
    for line in text.split_inclusive(['\n', '\r', '\u{2028}', '\u{2029}']) {
        if !line.chars().all(is_blank) {
            indented.repeat(" ", spaces).map_err(|fault| arguments.problem(fault))?;
        }
        indented.push(line).map_err(|fault| arguments.problem(fault))?;
    }
    Ok(indented.finish())
}

/// `replace(string, substring, replacement)`, everywhere. The replacement is taken as it is; in
/// Garden, a `$&` within it is what was replaced, and so on.
pub(super) fn replace(arguments: &Arguments<'_>) -> Called {
    let (text, substring, replacement) = (arguments.text(0)?, arguments.some_text(1)?, arguments.text(2)?);
    join(text.split(substring), replacement).map_err(|fault| arguments.problem(fault))
}

/// `split(string, separator)`.
pub(super) fn split(arguments: &Arguments<'_>) -> Called {
    let (text, separator) = (arguments.text(0)?, arguments.some_text(1)?);
    Ok(text.split(separator).map(Value::from).collect())
}

/// `string(value)`: a number, a boolean or `null` as text. Garden also prints lists, without their
/// brackets, and `[object Object]` for any mapping.
pub(super) fn string(arguments: &Arguments<'_>) -> Called {
    let text = javascript::text(arguments.value(0)).ok_or_else(|| {
        let problem = arguments.wrong_kind(0, "text, a number, a boolean or `null`");
        TemplateProblem { hint: Some("use `jsonEncode`".to_owned()), ..problem }
    })?;
    Ok(text.into())
}

/// Puts `separator` between the `texts`.
pub(super) fn join<'t>(texts: impl Iterator<Item = &'t str>, separator: &str) -> Result<Value, Fault> {
    let mut joined = Text::default();
    for (index, text) in texts.enumerate() {
        if index > 0 {
            joined.push(separator)?;
        }
        joined.push(text)?;
    }
    Ok(joined.finish())
}
