//! Reports variables that cannot be resolved, each where it is written.

use std::collections::BTreeMap;

use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::keys::{Asker, Keys, View, resolve};

/// What one layer has at a path.
#[derive(Clone, Copy)]
enum Set<'a> {
    Node(&'a Node),
    /// It hides what the layers below have.
    Hidden,
}

/// Reports each variable of `keys` that cannot be resolved. One that a layer above replaces is not wanted by anybody.
pub(crate) fn unresolved(keys: &Keys<'_>, problems: &Problems) {
    let layers = keys.variables.layers().iter().enumerate().rev();
    let layers = layers.map(|(layer, node)| (layer, Set::Node(node))).collect();
    within(layers, &mut Vec::new(), keys, problems);
}

/// Reports what cannot be resolved of the variable at `path`, which the `layers` set, the highest first.
fn within(layers: Vec<(usize, Set<'_>)>, path: &mut Vec<String>, keys: &Keys<'_>, problems: &Problems) {
    let mut fields: BTreeMap<&str, Vec<(usize, Set<'_>)>> = BTreeMap::new();
    for (index, (layer, set)) in layers.into_iter().enumerate() {
        if problems.is_full() {
            return;
        }
        let Set::Node(node) = set else { break };
        let view = View { keys, within: Some(Asker::new(layer, path)) };
        let Some(mapping) = node.as_mapping() else {
            // A value other than a mapping hides the mappings below it, and a mapping above hides it.
            if index == 0 {
                resolve::seen(node, view, problems);
            }
            break;
        };
        let is_operation = resolve::is_operation(mapping);
        if is_operation {
            resolve::seen(node, view, problems);
        }
        for entry in &mapping.0 {
            let set = if is_operation { Set::Hidden } else { Set::Node(&entry.value) };
            fields.entry(&entry.key).or_default().push((layer, set));
        }
    }
    for (key, layers) in fields {
        path.push(key.to_owned());
        within(layers, path, keys, problems);
        path.pop();
    }
}
