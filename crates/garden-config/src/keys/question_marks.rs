//! Tells of `?` that vanish: up to Garden 0.13 the one in `https://${host}?a=b` belongs to the placeholder, which it
//! makes optional.

use std::collections::HashSet;

use crate::document::node::{Node, Value};
use crate::document::placeholder::is_template;
use crate::document::problems::Problems;
use crate::keys::{Keys, resolve};
use crate::project::Generation;
use crate::template::Parsed;
use crate::{NoticeKind, Position};

/// Notices each text in `node`, which stands in the field `field`, that loses a `?` in its middle.
pub(crate) fn notice(node: &Node, field: &str, keys: &Keys<'_>, problems: &Problems) {
    if keys.generation < Generation::V2 {
        walk(node, field, keys, problems, &mut HashSet::new());
    }
}

/// `told` are the places that were noticed: what stands behind an anchor is met once for each of its aliases.
fn walk(node: &Node, field: &str, keys: &Keys<'_>, problems: &Problems, told: &mut HashSet<Position>) {
    let within = |key: &str| if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") };
    match &node.value {
        Value::String(text) if is_template(text) && text.len() <= resolve::LONGEST_TEMPLATE => {
            let parsed = keys.variables.parse(text, keys.generation);
            let lost = parsed.as_ref().as_ref().ok().and_then(Parsed::swallowed_question_mark);
            let Some(before) = lost.and_then(|at| text.get(..at)) else { return };
            let position = resolve::place_behind(before, node.position, &problems.source().text);
            if told.insert(position) {
                problems.notice(
                    NoticeKind::Advice,
                    field,
                    position,
                    "this `?` makes the placeholder before it optional, and is not part of the text",
                    "if the character is meant, write `${'?'}`; since Garden 0.14 (`apiVersion: garden.io/v2`) a plain `?` is one",
                );
            }
        }
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{field}[{index}]"), keys, problems, told);
            }
        }
        Value::Mapping(mapping) => {
            for entry in &mapping.0 {
                walk(&entry.value, &within(&entry.key), keys, problems, told);
            }
        }
        _ => {}
    }
}
