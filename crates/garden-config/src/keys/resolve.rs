//! Resolves the templates in a tree. Positions stay, so that problems found later point at the template.
//!
//! Besides templates in texts there are operations that change the tree, written as keys:
//! `$merge` lays its mapping under the keys beside it, `$concat` puts the items of its list in the place
//! of an item, and `$if`, with `$then` and `$else`, chooses.
//!
//! Why: docs/decisions/03-templates-are-resolved-in-the-tree.md

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, HashSet};

use crate::Position;
use crate::document::node::{Entry, Mapping, Node, Value};
use crate::document::placeholder::is_template;
use crate::document::problems::Problems;
use crate::keys::variables::Variables;
use crate::keys::{Keys, View, layer, question_marks};
use crate::template::{Fault, TemplateProblem};

/// A text with templates may not be longer, in bytes: it is read again for each variable that it takes.
pub(crate) const LONGEST_TEMPLATE: usize = 256 * 1024;

/// A template that cannot be resolved.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Where the text starts that holds it.
    pub(crate) position: Position,
    /// What stands in the text before the part that is wrong.
    before: String,
    pub(crate) fault: Fault,
}

impl Failure {
    fn at(position: Position, fault: Fault) -> Self {
        Self { position, before: String::new(), fault }
    }
}

/// Returns the mapping `node` with its templates resolved; each that cannot be is reported and becomes
/// [`Value::Unresolved`], and each that loses a `?` is noticed. The fields `except` are left as they are: nobody reads them, and they may hold
/// templates that only Garden can resolve.
pub(crate) fn fields(node: &Node, except: &[&str], keys: &Keys<'_>, problems: &Problems) -> Node {
    let Value::Mapping(mapping) = &node.value else { return all(node, keys, problems) };
    let (aside, read): (Vec<Entry>, Vec<Entry>) =
        mapping.0.iter().cloned().partition(|entry| except.contains(&entry.key.as_str()));
    let read = Node { position: node.position, value: Value::Mapping(Mapping(read)) };
    question_marks::notice(&read, "", keys, problems);
    let mut resolved = all(&read, keys, problems);
    if let Value::Mapping(mapping) = &mut resolved.value {
        mapping.0.extend(aside);
    }
    resolved
}

/// Resolves all templates in `node`, and leaves none as it is.
pub(crate) fn all(node: &Node, keys: &Keys<'_>, problems: &Problems) -> Node {
    seen(node, keys.all(), problems)
}

/// Resolves all templates in a `node` that has the `view`.
pub(crate) fn seen(node: &Node, view: View<'_>, problems: &Problems) -> Node {
    let keys = view.keys;
    let unresolved = |position| Node { position, value: Value::Unresolved };
    let attempt = || {
        let mut failures = Vec::new();
        let mut go_on = |failure: Failure| {
            let position = failure.position;
            failures.push(failure);
            Ok(Some(unresolved(position)))
        };
        let resolved = resolved(node, view, &mut go_on).unwrap_or_default();
        (resolved, failures)
    };
    let (resolved, failures) = keys.variables.ask(keys, attempt).unwrap_or_else(|| {
        (Some(unresolved(node.position)), vec![Failure::at(node.position, Variables::too_many())])
    });
    // What stands behind an anchor fails once for each of its aliases.
    let mut told = HashSet::new();
    for Failure { position, before, mut fault } in failures {
        if problems.is_full() {
            break;
        }
        // The place of the problem says where the variable itself is set.
        let itself = view.within.map(|asker| layer::place(asker.path, position)).unwrap_or_default();
        if fault.message.starts_with(&itself) {
            fault.message.drain(..itself.len());
        }
        if !told.insert((position, fault.message.clone())) {
            continue;
        }
        problems.report(place_behind(&before, position, &problems.source().text), fault.message, fault.hint);
    }
    resolved.unwrap_or(Node { position: node.position, value: Value::Null })
}

/// Returns `node` with its templates resolved as far as the variables are known that they take; `None` for an
/// optional template that stands for nothing.
pub(crate) fn once(node: &Node, view: View<'_>) -> Result<Option<Node>, Failure> {
    resolved(node, view, &mut Err)
}

/// Whether the mapping is one of the operations that can become anything, not only a mapping.
pub(crate) fn is_operation(mapping: &Mapping) -> bool {
    mapping.0.iter().any(|entry| entry.key.starts_with('$'))
}

/// What to do about a template that cannot be resolved: go on with something in its place, or give up.
type OnFailure<'a> = &'a mut dyn FnMut(Failure) -> Result<Option<Node>, Failure>;

fn resolved(node: &Node, view: View<'_>, on_failure: OnFailure<'_>) -> Result<Option<Node>, Failure> {
    let value = match &node.value {
        Value::String(text) if is_template(text) => {
            if text.len() > LONGEST_TEMPLATE {
                let message =
                    format!("this is too long for a template: more than {} KiB", LONGEST_TEMPLATE / 1024);
                return on_failure(Failure::at(node.position, Fault::new(message)));
            }
            let variables = &view.keys.variables;
            let answer = match variables.check_spent() {
                Ok(()) => match variables.parse(text, view.keys.generation).as_ref() {
                    Ok(template) => template.resolve(&view),
                    Err(problem) => Err(problem.clone()),
                },
                Err(fault) => return on_failure(Failure::at(node.position, fault)),
            };
            let failure = match answer {
                Ok(value) => match value.as_ref().map_or(Ok(()), |value| variables.spend(value)) {
                    Ok(()) => return Ok(value.map(|value| Node::from_json(value, node.position))),
                    Err(fault) => Failure::at(node.position, fault),
                },
                Err(TemplateProblem { message, hint, span }) => Failure {
                    before: text.get(..span.start).unwrap_or_default().to_owned(),
                    ..Failure::at(node.position, Fault { message, hint })
                },
            };
            // The rest is looked at all the same, so that everything that is wanted becomes known at once.
            if variables.wants() {
                return Ok(Some(Node { position: node.position, value: Value::Unresolved }));
            }
            return on_failure(failure);
        }
        Value::Sequence(items) => Value::Sequence(list(items, view, on_failure)?),
        Value::Mapping(mapping) if mapping.entry("$if").is_some() => {
            return choice(mapping, view, on_failure);
        }
        Value::Mapping(mapping) => {
            if let Some(entry) = mapping.entry("$forEach") {
                let hint = "write its result out, or use `$concat` and `$merge`";
                let fault = Fault::new("`$forEach` is not supported").hint(hint);
                return on_failure(Failure::at(entry.key_position, fault));
            }
            Value::Mapping(entries(mapping, view, on_failure)?)
        }
        other => other.clone(),
    };
    Ok(Some(Node { position: node.position, value }))
}

/// Resolves the items of a list; an item `$concat: list` stands for the items of that list.
fn list(items: &[Node], view: View<'_>, on_failure: OnFailure<'_>) -> Result<Vec<Node>, Failure> {
    let mut list = Vec::new();
    for item in items {
        let concat = match &item.value {
            Value::Mapping(mapping) => mapping.entry("$concat"),
            _ => None,
        };
        let Some(concat) = concat else {
            list.extend(resolved(item, view, on_failure)?);
            continue;
        };
        match resolved(&concat.value, view, on_failure)? {
            Some(Node { value: Value::Sequence(items), .. }) => list.extend(items),
            Some(Node { value: Value::Unresolved, .. }) | None => {}
            Some(other) => list.extend(refuse(concat, "a list", &other, on_failure)?),
        }
    }
    Ok(list)
}

/// Resolves a mapping; those of a mapping in `$merge` stand as if they were written in its place, and the
/// later of two wins.
fn entries(mapping: &Mapping, view: View<'_>, on_failure: OnFailure<'_>) -> Result<Mapping, Failure> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut set = |entry: Entry| match places.entry(entry.key.clone()) {
        Occupied(place) => entries[*place.get()] = entry,
        Vacant(place) => {
            place.insert(entries.len());
            entries.push(entry);
        }
    };
    for entry in &mapping.0 {
        let Some(value) = resolved(&entry.value, view, on_failure)? else { continue };
        if entry.key != "$merge" {
            set(Entry { value, ..entry.clone() });
            continue;
        }
        match value.value {
            Value::Mapping(merged) => merged.0.into_iter().for_each(&mut set),
            // Others may follow, so what is missing here must not look complete.
            Value::Unresolved => set(Entry { value, ..entry.clone() }),
            Value::Null => {}
            _ => {
                refuse(entry, "a mapping", &value, on_failure)?;
            }
        }
    }
    Ok(Mapping(entries))
}

/// Resolves `$if: condition` to what `$then` or `$else` holds.
fn choice(mapping: &Mapping, view: View<'_>, on_failure: OnFailure<'_>) -> Result<Option<Node>, Failure> {
    let Some(condition) = mapping.entry("$if") else { return Ok(None) };
    let Some(then) = mapping.get("$then") else {
        let fault = Fault::new("`$if` needs `$then`").hint("write `$then` beside it, and perhaps `$else`");
        return on_failure(Failure::at(condition.key_position, fault));
    };
    match resolved(&condition.value, view, on_failure)? {
        Some(Node { value: Value::Bool(true), .. }) => resolved(then, view, on_failure),
        Some(Node { value: Value::Bool(false), .. }) | None => match mapping.get("$else") {
            Some(otherwise) => resolved(otherwise, view, on_failure),
            None => Ok(None),
        },
        Some(unresolved @ Node { value: Value::Unresolved, .. }) => Ok(Some(unresolved)),
        Some(other) => refuse(condition, "`true` or `false`", &other, on_failure),
    }
}

/// Fails because `entry` has come to `value`, which is not the `expected`.
fn refuse(
    entry: &Entry,
    expected: &str,
    value: &Node,
    on_failure: OnFailure<'_>,
) -> Result<Option<Node>, Failure> {
    let message = format!("`{}` must come to {expected}, not {}", entry.key, value.kind());
    on_failure(Failure::at(entry.value.position, Fault::new(message)))
}

/// Where something stands that has `before` between it and the start of its text at `start`. A text with
/// escapes or folded lines is not written as it is read; then `start` is as close as possible.
pub(crate) fn place_behind(before: &str, start: Position, source: &str) -> Position {
    let mut written = source.lines().skip(start.line.saturating_sub(1));
    let mut place = start;
    for (index, part) in before.split('\n').enumerate() {
        let line = written.next().unwrap_or_default();
        let first = line.char_indices().nth(start.column.saturating_sub(1));
        let rest = first.map_or("", |(first, _)| &line[first..]);
        let quotes = usize::from(index == 0 && rest.starts_with(['"', '\'']));
        // Each line of a block is indented as the first one is, and an empty one need not be.
        if !rest[quotes..].starts_with(part) {
            return start;
        }
        place = Position { line: start.line + index, column: start.column + quotes + part.chars().count() };
    }
    place
}
