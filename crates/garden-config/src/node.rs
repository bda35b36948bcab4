//! A YAML document as a tree that knows where each key and value stands.

use crate::Position;

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

    /// What the value is, as a message says it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// Lays `patch` over this node as Garden does with two providers of one name: mappings merge,
    /// anything else replaces (RFC 7396). A `null` is kept rather than deleting the field, because
    /// `kaniko.namespace: null` means something else than leaving it out.
    pub(crate) fn merge(&mut self, patch: &Node) {
        match (&mut self.value, &patch.value) {
            (Value::Mapping(mapping), Value::Mapping(changes)) => {
                for change in &changes.0 {
                    match mapping.0.iter_mut().find(|entry| entry.key == change.key) {
                        Some(entry) => entry.value.merge(&change.value),
                        None => mapping.0.push(change.clone()),
                    }
                }
            }
            _ => *self = patch.clone(),
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
