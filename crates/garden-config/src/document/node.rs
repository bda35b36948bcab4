//! A YAML document as a tree that knows where each key and value stands.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

use crate::document::number;
use crate::{Position, javascript};

/// A value and where it is written. Behind an alias, that is where the anchor's value is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// A number as it is written, so that `1.10` can be quoted back.
    Number(String),
    String(String),
    Sequence(Vec<Node>),
    Mapping(Mapping),
    /// A template that could not be resolved, which was reported.
    Unresolved,
}

/// Entries in the file's order; a key that is written twice is here twice.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Mapping(pub(crate) Vec<Entry>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_position: Position,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    pub(crate) fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean that the value is. As Garden's schema library does, takes one in quotes too, in any case.
    pub(crate) fn as_flag(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The whole number that the value is. As Garden's schema library does, takes one in quotes too.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        match &self.value {
            Value::Number(written) => number::whole(written),
            Value::String(text) => number::whole_in_quotes(text),
            _ => None,
        }
    }

    /// Makes a tree of what a template has come to, all of it where the template stands.
    pub(crate) fn from_json(value: Json, position: Position) -> Self {
        let node = |value| Self::from_json(value, position);
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => {
                Value::Number(javascript::text(&Json::Number(number)).unwrap_or_default())
            }
            Json::String(text) => Value::String(text),
            Json::Array(items) => Value::Sequence(items.into_iter().map(node).collect()),
            Json::Object(entries) => Value::Mapping(Mapping(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry { key, key_position: position, value: node(value) })
                    .collect(),
            )),
        };
        Self { position, value }
    }

    /// Turns the tree into what templates reckon with.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Null | Value::Unresolved => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(written) => number::value(written),
            Value::String(text) => Json::String(text.clone()),
            Value::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Value::Mapping(mapping) => {
                let entries = mapping.0.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                Json::Object(entries.collect())
            }
        }
    }

    /// The same value, all of it at `position`.
    pub(crate) fn moved(self, position: Position) -> Self {
        let value = match self.value {
            Value::Sequence(items) => {
                Value::Sequence(items.into_iter().map(|item| item.moved(position)).collect())
            }
            Value::Mapping(mapping) => Value::Mapping(Mapping(
                mapping
                    .0
                    .into_iter()
                    .map(|Entry { key, value, .. }| Entry {
                        key,
                        key_position: position,
                        value: value.moved(position),
                    })
                    .collect(),
            )),
            other => other,
        };
        Self { position, value }
    }

    /// What the value is, as a message says it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Unresolved => "a template",
        }
    }

    /// Whether a template in it could not be resolved.
    pub(crate) fn is_incomplete(&self) -> bool {
        match &self.value {
            Value::Unresolved => true,
            Value::Sequence(items) => items.iter().any(Self::is_incomplete),
            Value::Mapping(mapping) => mapping.0.iter().any(|entry| entry.value.is_incomplete()),
            _ => false,
        }
    }

    /// Lays `patch` over this node as Garden does with two providers of one name, and with variables:
    /// mappings merge, anything else replaces (RFC 7396). A `null` is kept rather than deleting the
    /// field, because `kaniko.namespace: null` means something else than leaving it out.
    pub(crate) fn merge(&mut self, patch: &Node) {
        self.merge_all(&[patch]);
    }

    /// Merges one patch after the other, in time in proportion to their sizes: a file can lay thousands of
    /// small ones over a large mapping.
    pub(crate) fn merge_all(&mut self, patches: &[&Node]) {
        // What is not a mapping replaces all before it.
        if let Some(last) = patches.iter().rposition(|patch| patch.as_mapping().is_none()) {
            *self = patches[last].clone();
            return self.merge_all(&patches[last + 1..]);
        }
        let [first, rest @ ..] = patches else { return };
        let Value::Mapping(mapping) = &mut self.value else {
            *self = (*first).clone();
            return self.merge_all(rest);
        };
        let entries = mapping.0.iter().enumerate();
        let mut places: HashMap<String, usize> =
            entries.map(|(place, entry)| (entry.key.clone(), place)).collect();
        let mut changes: BTreeMap<usize, Vec<&Node>> = BTreeMap::new();
        for change in patches.iter().filter_map(|patch| patch.as_mapping()).flat_map(|patch| &patch.0) {
            if let Some(place) = places.get(&change.key) {
                changes.entry(*place).or_default().push(&change.value);
            } else {
                places.insert(change.key.clone(), mapping.0.len());
                mapping.0.push(change.clone());
            }
        }
        for (place, changes) in changes {
            mapping.0[place].value.merge_all(&changes);
        }
    }
}

impl Mapping {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Finds where the field `path` (`limits.cpu`) is written, or the innermost mapping on the way
    /// to it that is.
    pub(crate) fn position_of(&self, path: &str) -> Option<Position> {
        let (key, rest) = path.split_once('.').unwrap_or((path, ""));
        let node = self.get(key)?;
        let deeper = node.as_mapping().and_then(|mapping| mapping.position_of(rest));
        Some(deeper.unwrap_or(node.position))
    }
}
