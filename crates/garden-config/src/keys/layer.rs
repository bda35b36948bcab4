//! What one layer of variables has at a path.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value;

use crate::Position;
use crate::document::node::{Mapping, Node, Value as NodeValue};
use crate::keys::resolve::{self, Failure};
use crate::keys::{Asker, View};
use crate::template::Fault;

/// How to look into a mapping or list without going through all of it, as thousands of templates may do.
#[derive(Debug, Default)]
struct Index {
    /// Whether it holds operations, and must be resolved before it can be looked into.
    has_operations: bool,
    /// Where the keys of a mapping are.
    places: HashMap<String, usize>,
}

impl Index {
    fn new(node: &Node) -> Self {
        match &node.value {
            NodeValue::Mapping(mapping) => {
                // The first of two counts.
                let entries = mapping.0.iter().enumerate().rev();
                let places = entries.map(|(place, entry)| (entry.key.clone(), place)).collect();
                Self { has_operations: resolve::is_operation(mapping), places }
            }
            NodeValue::Sequence(items) => {
                let has_operations = items.iter().filter_map(Node::as_mapping).any(resolve::is_operation);
                Self { has_operations, ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}

/// How to look into mappings and lists, by the addresses of their nodes; all are of layers, which stay.
#[derive(Debug, Default)]
pub(super) struct Indexes(RefCell<HashMap<*const Node, Rc<Index>>>);

/// What one layer has at a path.
pub(super) enum Here<'a> {
    /// Nothing; a layer below may have it. On the way to it, so many mappings are there.
    Nothing(usize),
    /// Something on the way is not a mapping, and hides what the layers below have.
    Hidden,
    /// A mapping whose fields are variables of their own.
    Mapping(&'a Mapping),
    Value(Value),
}

impl Indexes {
    /// Looks into the mapping `node`. Only what lies on the way is resolved. The layers above have a mapping for so many parts of
    /// the path as `mappings` says, so that a list there is hidden by it.
    pub(super) fn look_into<'a>(
        &self,
        node: &'a Node,
        path: &[String],
        mappings: usize,
        view: View<'_>,
    ) -> Result<Here<'a>, Fault> {
        let mut node = node;
        for (depth, key) in path.iter().enumerate() {
            let index = self.index(node);
            let inner = match &node.value {
                NodeValue::Mapping(mapping) if !index.has_operations => {
                    index.places.get(key).map(|place| &mapping.0[*place].value)
                }
                NodeValue::Sequence(items) if !index.has_operations && depth >= mappings => {
                    let item = key.parse().ok().and_then(|index: usize| items.get(index));
                    let Some(item) = item else { return Ok(Here::Hidden) };
                    Some(item)
                }
                _ => {
                    let value = resolved(node, &path[..depth], view)?;
                    return Ok(
                        value.map_or(Here::Nothing(depth), |value| within(value, path, depth, mappings))
                    );
                }
            };
            let Some(inner) = inner else { return Ok(Here::Nothing(depth + 1)) };
            node = inner;
        }
        match &node.value {
            NodeValue::Mapping(mapping) if !resolve::is_operation(mapping) => Ok(Here::Mapping(mapping)),
            _ => Ok(resolved(node, path, view)?.map_or(Here::Nothing(path.len()), Here::Value)),
        }
    }

    fn index(&self, node: &Node) -> Rc<Index> {
        let mut indexes = self.0.borrow_mut();
        Rc::clone(indexes.entry(std::ptr::from_ref(node)).or_insert_with(|| Rc::new(Index::new(node))))
    }
}

/// Follows `path` from the part `depth` on into a value that was resolved.
fn within(mut value: Value, path: &[String], depth: usize, mappings: usize) -> Here<'static> {
    for (depth, key) in path.iter().enumerate().skip(depth) {
        value = match value {
            Value::Object(mut mapping) => match mapping.remove(key) {
                Some(inner) => inner,
                None => return Here::Nothing(depth + 1),
            },
            Value::Array(mut items) if depth >= mappings => match key.parse::<usize>() {
                Ok(index) if index < items.len() => items.swap_remove(index),
                _ => return Here::Hidden,
            },
            _ => return Here::Hidden,
        };
    }
    Here::Value(value)
}

/// A message is not led through more variables once it is longer than this, in bytes.
const LONGEST_TRAIL: usize = 300;

fn resolved(node: &Node, path: &[String], view: View<'_>) -> Result<Option<Value>, Fault> {
    let within = view.within.map(|asker| Asker { depth: path.len(), ..asker });
    match resolve::once(node, View { within, ..view }) {
        Ok(node) => Ok(node.map(|node| node.to_json())),
        Err(Failure { position, fault, .. }) => {
            let place = place(path, position);
            // The start of a long chain does not help, and each of its variables would repeat the rest.
            if fault.message.len() > LONGEST_TRAIL || fault.message.starts_with(&place) {
                return Err(fault);
            }
            Err(Fault { message: place + &fault.message, ..fault })
        }
    }
}

/// Leads a message to the variable at `path`, which is set at `position`.
pub(super) fn place(path: &[String], position: Position) -> String {
    let name = if path.is_empty() { "var".to_owned() } else { format!("var.{}", path.join(".")) };
    format!("`{name}`, line {}: ", position.line)
}
