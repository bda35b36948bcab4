//! What the fields of modules and of actions have in common.

use std::collections::BTreeMap;

use garden_build_core::BuildSecret;

use crate::document::decode::{Fields, items, text};
use crate::document::issue::Issue;
use crate::document::node::{Node, Value};
use crate::document::problems::Problems;
use crate::javascript;

/// The name of a field of a [`BuildConfig`](crate::BuildConfig), and where it is written.
pub(crate) type Place = (&'static str, &'static str);

/// What to do about files that Garden would put into the build context.
const COPY_YOURSELF: &str = "copy them there before the build, or use `COPY --from` in the Dockerfile";

/// Refuses a source elsewhere, which Garden would fetch.
pub(crate) fn refuse_repository(fields: &Fields<'_>, name: &'static str, problems: &Problems) {
    if fields.node(name).is_some() {
        let hint = "check the repository out, and point the project at it".to_owned();
        problems.report(
            fields.key_position(name),
            format!("`{name}`: repositories are not fetched here"),
            Some(hint),
        );
    }
}

/// Refuses a list that would put files into the context before the build; an empty one does not.
pub(crate) fn refuse_list(fields: &Fields<'_>, name: &'static str, what: &str, problems: &Problems) {
    if !fields.list(name).is_empty() {
        let message = format!("`{name}`: {what} are not put into the build context here");
        let hint = COPY_YOURSELF.to_owned();
        problems.report(fields.key_position(name), message, Some(hint));
    }
}

/// Refuses dependencies that say what is to be copied; others only concern the order, in which the caller
/// builds.
pub(crate) fn refuse_copies(
    fields: &Fields<'_>,
    name: &'static str,
    copies: &'static str,
    problems: &Problems,
) {
    for item in fields.list(name) {
        let Some(node) = item.as_mapping().and_then(|mapping| mapping.entry(copies)) else { continue };
        if !matches!(&node.value.value, Value::Null | Value::Unresolved)
            && !items(&node.value, &format!("`{copies}`"), problems).is_empty()
        {
            let message =
                format!("`{copies}`: files of other builds are not put into the build context here");
            let hint = COPY_YOURSELF.to_owned();
            problems.report(node.key_position, message, Some(hint));
        }
    }
}

/// Reads a text for which `false` means nothing. As with Garden, an empty one does not.
pub(crate) fn text_unless_false<'a>(fields: &Fields<'a>, name: &'static str) -> Option<&'a str> {
    let is_false = fields.node(name).is_some_and(|node| node.value == Value::Bool(false));
    let text = if is_false { None } else { fields.text(name) };
    if text.is_some_and(str::is_empty) {
        let hint = format!("leave `{name}` out, or write `false`");
        fields.report(Issue::new(name, format!("`{name}` is empty"), hint));
    }
    text.filter(|text| !text.is_empty())
}

/// Reads build arguments. As with Garden, numbers and booleans are written as text; an argument that is
/// `null` or empty is left to the default in the Dockerfile.
///
/// A number is not what is written but what it means: `1.10` is `1.1`, as it is in `${var.version}` too. An image of Garden's has
/// that in it, so another text would make another image. Whoever means `1.10` writes it in quotes.
pub(crate) fn build_args(fields: &Fields<'_>, problems: &Problems) -> BTreeMap<String, String> {
    let mut arguments = BTreeMap::new();
    let Some(node) = fields.node("buildArgs") else { return arguments };
    let Some(mapping) = node.as_mapping() else {
        // Reports what it is instead.
        fields.text_map("buildArgs");
        return arguments;
    };
    for entry in &mapping.0 {
        let value = match &entry.value.value {
            Value::Null | Value::Unresolved => continue,
            Value::Bool(value) => value.to_string(),
            Value::Number(_) => number(&entry.value),
            Value::String(value) if value.is_empty() => continue,
            Value::String(value) => value.clone(),
            Value::Sequence(_) | Value::Mapping(_) => {
                let message =
                    format!("the build argument `{}` must be text, not {}", entry.key, entry.value.kind());
                problems.report(entry.value.position, message, Some("use `jsonEncode`".to_owned()));
                continue;
            }
        };
        arguments.insert(entry.key.clone(), value);
    }
    arguments
}

/// Reads `secrets`; no message quotes one.
pub(crate) fn secrets(fields: &Fields<'_>, problems: &Problems) -> BTreeMap<String, BuildSecret> {
    let mut secrets = BTreeMap::new();
    let Some(node) = fields.node("secrets") else { return secrets };
    problems.hide(fields.key_position("secrets"));
    let Some(mapping) = node.as_mapping() else {
        if node.value != Value::Unresolved {
            problems.report(node.position, "`secrets` must be a mapping from ids to texts", None);
        }
        return secrets;
    };
    for entry in &mapping.0 {
        match &entry.value.value {
            Value::String(secret) => {
                secrets.insert(entry.key.clone(), BuildSecret::new(secret.as_bytes()));
            }
            Value::Unresolved => {}
            _ => {
                let message = format!("the secret `{}` must be text, not {}", entry.key, entry.value.kind());
                problems.report(entry.value.position, message, Some("write it in quotes".to_owned()));
            }
        }
    }
    secrets
}

/// The text of a number, as Garden writes it.
fn number(node: &Node) -> String {
    javascript::text(&node.to_json()).unwrap_or_default()
}

/// Reads `extraFlags`. A flag and its value may be two items, and a value may be a number.
pub(crate) fn flags(fields: &Fields<'_>, problems: &Problems) -> Vec<String> {
    let flag = |item: &Node| match &item.value {
        Value::Number(_) => Some(number(item)),
        _ => text(item, "each of `extraFlags`", problems).map(str::to_owned),
    };
    fields.list("extraFlags").into_iter().filter_map(flag).collect()
}
