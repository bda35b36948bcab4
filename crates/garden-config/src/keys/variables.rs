//! Variables: `${var.…}`.
//!
//! They come in layers: the project's, those of the environment, those of a module or an action, those set
//! from Rust. A higher layer wins, and mappings of the same name merge. A variable may refer to others; one
//! that refers to its own name means the layer below, so an environment can extend what the project sets.
//!
//! A variable that is asked for and not known yet is not resolved there and then, as a chain of variables
//! could be longer than the stack is deep. Whoever asked breaks off, the variable is resolved, and the
//! question is asked again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::document::node::{Mapping, Node, Value as NodeValue};
use crate::keys::resolve::{self, Failure};
use crate::keys::{Keys, View, follow, missing};
use crate::template::{Fault, LookedUp};

/// A path, and how many layers count for it.
type Place = (usize, Vec<String>);

/// All variables that a text may use, lowest layer first.
#[derive(Debug, Default)]
pub(crate) struct Variables<'a> {
    /// Each a mapping.
    layers: Vec<&'a Node>,
    /// What has been found out.
    known: RefCell<HashMap<Place, Result<LookedUp, Fault>>>,
    /// What has been asked for and was not known.
    wanted: RefCell<Vec<Place>>,
    /// How much all templates have come to.
    spent: Cell<usize>,
}

impl<'a> Variables<'a> {
    /// So many variables may refer to one another in a chain.
    const LONGEST_CHAIN: usize = 100;

    /// So often something is asked again because of variables that became known.
    const MOST_ROUNDS: usize = 64;

    /// So much may all templates of one provider, module or action come to, in bytes. A few lines could
    /// fill the memory otherwise, each doubling the one before.
    const BUDGET: usize = 16 * 1024 * 1024;

    pub(crate) fn new(layers: Vec<&'a Node>) -> Self {
        Self { layers, ..Self::default() }
    }

    pub(crate) fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Counts `value` as made by a template.
    pub(crate) fn spend(&self, value: &Value) -> Result<(), Fault> {
        self.spent.set(self.spent.get().saturating_add(size(value)));
        if self.spent.get() <= Self::BUDGET {
            return Ok(());
        }
        Err(Fault::new(format!("the templates come to more than {} MiB", Self::BUDGET / 1024 / 1024)))
    }

    /// Looks up `path` in the lowest `top` layers. The answer means nothing if the variable is
    /// [`wanted`](Self::wants) now.
    pub(crate) fn look_up(&self, path: &[String], top: usize) -> Result<LookedUp, Fault> {
        let place = (top, path.to_vec());
        if let Some(known) = self.known.borrow().get(&place) {
            return known.clone();
        }
        self.wanted.borrow_mut().push(place);
        Err(Fault::new("not known yet"))
    }

    /// Whether something was asked for that is not known, so that whatever was made of the answers is void.
    pub(crate) fn wants(&self) -> bool {
        !self.wanted.borrow().is_empty()
    }

    /// Asks `question` until all variables that it takes are known. `None` if there are too many.
    pub(crate) fn ask<T>(&self, keys: &Keys<'_>, question: impl Fn() -> T) -> Option<T> {
        for _ in 0..Self::MOST_ROUNDS {
            let answer = question();
            if !self.wants() {
                return Some(answer);
            }
            for place in self.wanted.take() {
                self.find_out(place, keys);
            }
        }
        None
    }

    pub(crate) fn too_many() -> Fault {
        let message = format!("more than {} variables are chosen one by one", Self::MOST_ROUNDS);
        Fault::new(message).hint("write the value itself")
    }

    /// Resolves one variable, and before it those that it refers to.
    fn find_out(&self, place: Place, keys: &Keys<'_>) {
        let mut pending = vec![Pending { place, depth: 0, rounds: 0 }];
        while let Some(current) = pending.last_mut() {
            if self.known.borrow().contains_key(&current.place) {
                pending.pop();
                continue;
            }
            current.rounds += 1;
            let answer = if current.rounds > Self::MOST_ROUNDS {
                Err(Self::too_many())
            } else {
                self.merged(&current.place, keys)
            };
            let (place, depth) = (current.place.clone(), current.depth + 1);
            let wanted = self.wanted.take();
            if wanted.is_empty() {
                self.known.borrow_mut().insert(place, answer);
            }
            for next in wanted {
                let under_way = |it: &Pending| it.rounds > 0 && it.place == next;
                if let Some(start) = pending.iter().position(under_way) {
                    let places = pending[start..].iter().filter(|it| it.rounds > 0).map(|it| &it.place);
                    let fault = circle(places.chain([&next]));
                    self.known.borrow_mut().insert(next, Err(fault));
                } else if depth > Self::LONGEST_CHAIN {
                    let message = format!("more than {} variables refer to one another", Self::LONGEST_CHAIN);
                    self.known.borrow_mut().insert(next, Err(Fault::new(message)));
                } else {
                    pending.push(Pending { place: next, depth, rounds: 0 });
                }
            }
        }
    }

    /// Merges what the layers have at `place`.
    fn merged(&self, (top, path): &Place, keys: &Keys<'_>) -> Result<LookedUp, Fault> {
        let mut fields: BTreeSet<String> = BTreeSet::new();
        let mut only: Option<Value> = None;
        let mut found = 0;
        for layer in (0..*top).rev() {
            let view = View { keys, top: layer + 1, itself: Some(path) };
            let here = match in_layer(self.layers[layer], path, view)? {
                Here::Nothing => continue,
                // What is no mapping is replaced by the mapping above it, and replaces those below it.
                Here::Value(value) if !value.is_object() && found > 0 => break,
                here => here,
            };
            found += 1;
            match here {
                Here::Mapping(mapping) => fields.extend(mapping.0.iter().map(|entry| entry.key.clone())),
                Here::Value(Value::Object(mapping)) => {
                    fields.extend(mapping.keys().cloned());
                    only = Some(Value::Object(mapping));
                }
                Here::Value(value) => return Ok(LookedUp::Found(value)),
                Here::Nothing => {}
            }
        }
        match (found, only) {
            (0, _) => Ok(self.missing(path, *top)),
            (1, Some(value)) => Ok(LookedUp::Found(value)),
            _ => self.gathered(fields, path, *top),
        }
    }

    /// Looks up each of the `fields` of the mapping at `path`, as each is a variable of its own.
    fn gathered(&self, fields: BTreeSet<String>, path: &[String], top: usize) -> Result<LookedUp, Fault> {
        let mut mapping = Map::new();
        let mut failure = None;
        for field in fields {
            let mut path = path.to_vec();
            path.push(field.clone());
            match self.look_up(&path, top) {
                Ok(LookedUp::Found(value)) => {
                    mapping.insert(field, value);
                }
                // An optional template that stands for nothing.
                Ok(LookedUp::Missing(_)) => {}
                Err(fault) => failure = failure.or(Some(fault)),
            }
        }
        failure.map_or_else(|| Ok(LookedUp::Found(Value::Object(mapping))), Err)
    }

    /// Says that no layer has `path`, and what else there is.
    fn missing(&self, path: &[String], top: usize) -> LookedUp {
        let (above, _) = path.split_at(path.len().saturating_sub(1));
        let mut keys = Vec::new();
        for layer in &self.layers[..top] {
            let mapping = above.iter().try_fold(*layer, |node, key| node.as_mapping()?.get(key));
            let entries = mapping.and_then(Node::as_mapping).map(|mapping| mapping.0.as_slice());
            keys.extend(entries.unwrap_or_default().iter().map(|entry| entry.key.clone()));
        }
        // Enough for a suggestion.
        keys.truncate(200);
        let path: Vec<String> = ["var".to_owned()].iter().chain(path).cloned().collect();
        missing(&path, &keys)
    }
}

/// A variable that is to be resolved.
struct Pending {
    place: Place,
    /// How many variables wait for it in a chain.
    depth: usize,
    /// How often it was tried; not at all while it only waits for its turn.
    rounds: usize,
}

/// What one layer has at a path.
enum Here<'a> {
    Nothing,
    /// A mapping whose fields are variables of their own.
    Mapping(&'a Mapping),
    Value(Value),
}

/// Looks into the mapping `node`. Only what lies on the way is resolved.
fn in_layer<'n>(node: &'n Node, path: &[String], view: View<'_>) -> Result<Here<'n>, Fault> {
    let mut node = node;
    for (depth, key) in path.iter().enumerate() {
        let inner = match &node.value {
            NodeValue::Mapping(mapping) if !resolve::is_operation(mapping) => mapping.get(key),
            NodeValue::Sequence(items) if !items.iter().any(is_operation) => {
                key.parse().ok().and_then(|index: usize| items.get(index))
            }
            _ => {
                let value = resolved(node, &path[..depth], view)?;
                let value = value.and_then(|value| follow(value, &path[depth..]).ok());
                return Ok(value.map_or(Here::Nothing, Here::Value));
            }
        };
        let Some(inner) = inner else { return Ok(Here::Nothing) };
        node = inner;
    }
    match &node.value {
        NodeValue::Mapping(mapping) if !resolve::is_operation(mapping) => Ok(Here::Mapping(mapping)),
        _ => Ok(resolved(node, path, view)?.map_or(Here::Nothing, Here::Value)),
    }
}

fn is_operation(node: &Node) -> bool {
    node.as_mapping().is_some_and(resolve::is_operation)
}

fn resolved(node: &Node, path: &[String], view: View<'_>) -> Result<Option<Value>, Fault> {
    match resolve::once(node, view) {
        Ok(node) => Ok(node.map(|node| node.to_json())),
        Err(Failure { position, fault, .. }) => {
            let name = if path.is_empty() { "var".to_owned() } else { format!("var.{}", path.join(".")) };
            let message = format!("`{name}`, line {}: {}", position.line, fault.message);
            Err(Fault { message, ..fault })
        }
    }
}

fn circle<'p>(places: impl Iterator<Item = &'p Place>) -> Fault {
    let names: Vec<String> = places.map(|(_, path)| format!("`var.{}`", path.join("."))).collect();
    Fault::new(format!("variables refer to each other in a circle: {}", names.join(", ")))
        .hint("write the value of one of them itself")
}

/// Roughly how much memory a value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 16,
        Value::Array(items) => 16 + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => {
            16 + entries.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>()
        }
        _ => 16,
    }
}
