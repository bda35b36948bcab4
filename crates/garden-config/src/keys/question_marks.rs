//! Notices about each `?` that vanishes: up to Garden 0.13 the one in `https://${host}?a=b` belongs to the placeholder, which it
//! makes optional.

use std::collections::BTreeMap;

use crate::NoticeKind;
use crate::Position;
use crate::document::node::{Node, Value};
use crate::document::placeholder::is_template;
use crate::document::problems::Problems;
use crate::keys::{Keys, resolve};
use crate::project::Generation;
use crate::template::Parsed;

/// More are not reported: nobody reads them, and a file can have as many as it has lines.
const MOST: usize = 20;

/// A longer name of a field is cut in messages, in bytes.
const LONGEST_FIELD: usize = 200;

/// Notices each text in `node`, which stands in the field `field`, that loses a `?` in its middle.
pub(crate) fn notice<'n>(node: &'n Node, field: &'n str, keys: &Keys<'_>, problems: &Problems) {
    if keys.generation >= Generation::V2 {
        return;
    }
    let root = Some(field).filter(|field| !field.is_empty());
    let mut walk =
        Walk { keys, problems, path: root.map(Part::Key).into_iter().collect(), found: BTreeMap::new() };
    walk.visit(node);
    for (position, field) in walk.found {
        problems.notice(
            NoticeKind::Advice,
            field,
            position,
            "this `?` makes the placeholder before it optional, and is not part of the text",
            "if the character is meant, write `${'?'}`; since Garden 0.14 (`apiVersion: garden.io/v2`) a plain `?` is one",
        );
    }
}

enum Part<'n> {
    Key(&'n str),
    Index(usize),
}

struct Walk<'w, 'n> {
    keys: &'w Keys<'w>,
    problems: &'w Problems,
    path: Vec<Part<'n>>,
    /// What stands behind an anchor is met once for each of its aliases, at one place.
    found: BTreeMap<Position, String>,
}

impl<'n> Walk<'_, 'n> {
    fn visit(&mut self, node: &'n Node) {
        if self.found.len() >= MOST {
            return;
        }
        match &node.value {
            Value::String(text) if is_template(text) && text.len() <= resolve::LONGEST_TEMPLATE => {
                let parsed = self.keys.variables.parse(text, self.keys.generation);
                let lost = parsed.as_ref().as_ref().ok().and_then(Parsed::swallowed_question_mark);
                let Some(before) = lost.and_then(|at| text.get(..at)) else { return };
                let position = resolve::place_behind(before, node.position, &self.problems.source().text);
                let field = self.field();
                self.found.entry(position).or_insert(field);
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Part::Index(index), item);
                }
            }
            Value::Mapping(mapping) => {
                for entry in &mapping.0 {
                    self.within(Part::Key(&entry.key), &entry.value);
                }
            }
            _ => {}
        }
    }

    fn within(&mut self, part: Part<'n>, node: &'n Node) {
        self.path.push(part);
        self.visit(node);
        self.path.pop();
    }

    /// The path as a notice names it: `variables.hosts[1]`.
    fn field(&self) -> String {
        let mut field = String::new();
        for part in &self.path {
            match part {
                Part::Index(index) => field.extend(["[", &index.to_string(), "]"]),
                Part::Key(key) if field.len() + key.len() > LONGEST_FIELD => return field + "…",
                Part::Key(key) if field.is_empty() => field.push_str(key),
                Part::Key(key) => {
                    field.push('.');
                    field.push_str(key);
                }
            }
        }
        field
    }
}
