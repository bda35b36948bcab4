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
use std::collections::HashMap;

use serde_json::Value;

use crate::document::node::{Node, Value as NodeValue};
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
        let mut chain: Vec<(Place, usize)> = vec![(place, 0)];
        while let Some((place, rounds)) = chain.last_mut() {
            *rounds += 1;
            let answer =
                if *rounds > Self::MOST_ROUNDS { Err(Self::too_many()) } else { self.merged(place, keys) };
            let wanted = self.wanted.take();
            if wanted.is_empty() {
                self.known.borrow_mut().insert(place.clone(), answer);
                chain.pop();
                continue;
            }
            for next in wanted {
                let known = |fault| self.known.borrow_mut().insert(next.clone(), Err(fault));
                if let Some(start) = chain.iter().position(|(place, _)| *place == next) {
                    known(circle(chain[start..].iter().map(|(place, _)| place).chain([&next])));
                } else if chain.len() >= Self::LONGEST_CHAIN {
                    let message = format!("more than {} variables refer to one another", Self::LONGEST_CHAIN);
                    known(Fault::new(message));
                } else {
                    chain.push((next, 0));
                    // The others are asked for again.
                    break;
                }
            }
        }
    }

    /// Merges what the layers have at `place`.
    fn merged(&self, (top, path): &Place, keys: &Keys<'_>) -> Result<LookedUp, Fault> {
        let mut found: Option<Value> = None;
        for layer in (0..*top).rev() {
            let view = View { keys, top: layer + 1, itself: Some(path) };
            let Some(value) = in_layer(self.layers[layer], path, view)? else { continue };
            let is_mapping = value.is_object();
            found = Some(match found {
                Some(higher) if is_mapping => laid_over(value, higher),
                // What is no mapping is replaced by the mapping above it.
                Some(higher) => higher,
                None => value,
            });
            if !is_mapping {
                break;
            }
        }
        Ok(found.map_or_else(|| self.missing(path, *top), LookedUp::Found))
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

/// Looks into the mapping `node`. Only what lies on the way is resolved.
fn in_layer(node: &Node, path: &[String], view: View<'_>) -> Result<Option<Value>, Fault> {
    let mut node = node;
    for (depth, key) in path.iter().enumerate() {
        let inner = match &node.value {
            NodeValue::Mapping(mapping) if !resolve::is_operation(mapping) => mapping.get(key),
            NodeValue::Sequence(items)
                if items.iter().all(|item| !item.as_mapping().is_some_and(resolve::is_operation)) =>
            {
                key.parse().ok().and_then(|index: usize| items.get(index))
            }
            _ => {
                let value = resolved(node, &path[..depth], view)?;
                return Ok(value.and_then(|value| follow(value, &path[depth..]).ok()));
            }
        };
        let Some(inner) = inner else { return Ok(None) };
        node = inner;
    }
    resolved(node, path, view)
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

/// Lays `patch` over `base` as RFC 7396 says, except that `null` is a value.
fn laid_over(base: Value, patch: Value) -> Value {
    match (base, patch) {
        (Value::Object(mut base), Value::Object(patch)) => {
            for (key, value) in patch {
                let lower = base.remove(&key).unwrap_or(Value::Null);
                base.insert(key, laid_over(lower, value));
            }
            Value::Object(base)
        }
        (_, patch) => patch,
    }
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
