//! Server-side apply. Source: Kubernetes, "Server-Side Apply"; lists count as one value here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::refusal::Refusal;

/// Identifies the object, and is nobody's.
const NOT_OWNED: [&str; 2] = ["apiVersion", "kind"];

/// Makes `object` what `manager` wants, and remembers that. What the manager wanted before and does not any more
/// goes, unless another one wants it.
pub(super) fn apply(
    object: &mut Value,
    applied: &mut BTreeMap<String, Value>,
    manager: &str,
    wanted: Value,
    force: bool,
) -> Result<(), Refusal> {
    let new = leaves(&wanted);
    let others: Vec<_> = applied
        .iter()
        .filter(|(other, _)| *other != manager)
        .flat_map(|(_, theirs)| leaves(theirs))
        .collect();
    if !force
        && let Some((path, _)) = new
            .iter()
            .find(|(path, value)| others.iter().any(|(other, theirs)| other == path && theirs != value))
    {
        let message = format!("Apply failed with 1 conflict: .{}", path.join("."));
        return Err(Refusal::new(409, "Conflict", message));
    }
    if let Some(before) = applied.get(manager) {
        for (path, _) in leaves(before) {
            let is_kept = new.iter().chain(&others).any(|(it, _)| *it == path);
            if !is_kept {
                remove(object, &path);
            }
        }
    }
    merge(object, &wanted);
    applied.insert(manager.to_owned(), wanted);
    Ok(())
}

fn leaves(value: &Value) -> Vec<(Vec<String>, Value)> {
    fn walk(value: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Value)>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    if path.is_empty() && NOT_OWNED.contains(&name.as_str()) {
                        continue;
                    }
                    path.push(name.clone());
                    walk(value, path, found);
                    path.pop();
                }
            }
            other => found.push((path.clone(), other.clone())),
        }
    }
    let mut found = Vec::new();
    // The depth is bounded by that of the JSON parser.
    walk(value, &mut Vec::new(), &mut found);
    found
}

fn remove(object: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let parent = parents.iter().try_fold(object, |object, name| object.get_mut(name));
    if let Some(fields) = parent.and_then(Value::as_object_mut) {
        fields.remove(last);
    }
}

/// Unlike a merge patch, takes `null` for nothing said.
fn merge(object: &mut Value, wanted: &Value) {
    match (object, wanted) {
        (_, Value::Null) => {}
        (Value::Object(fields), Value::Object(wanted)) => {
            for (name, wanted) in wanted {
                merge(fields.entry(name.clone()).or_insert(Value::Null), wanted);
            }
        }
        (object, wanted) => *object = wanted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manager_takes_back_what_is_its_own_and_nothing_else() {
        let mut applied = BTreeMap::new();
        let mut object = json!({ "spec": { "theirs": 1 } });
        let mut by = |manager: &str, wanted: Value, force: bool| {
            let done = apply(&mut object, &mut applied, manager, wanted, force);
            done.map(|()| object.clone())
        };
        by("us", json!({ "spec": { "a": 1, "b": { "c": 2 } } }), true).expect("applied");
        by("them", json!({ "spec": { "b": { "c": 2 } } }), false).expect("of one mind");
        let after = by("us", json!({ "spec": { "d": [1] } }), true).expect("applied");
        assert_eq!(after, json!({ "spec": { "theirs": 1, "b": { "c": 2 }, "d": [1] } }));
        assert_eq!(by("us", json!({ "spec": { "b": { "c": 3 } } }), false).map_err(|it| it.code()), Err(409));
        let after = by("us", json!({ "spec": { "b": { "c": 3 } } }), true).expect("taken");
        assert_eq!(after, json!({ "spec": { "theirs": 1, "b": { "c": 3 } } }));
    }
}
