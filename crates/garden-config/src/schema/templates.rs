//! Lets a schema of what values are take what stands for them: templates, operations, quotes.

use serde_json::{Map, Value, json};

/// What is found by its name.
const DOCUMENTS: [&str; 6] = ["Project", "Environment", "Provider", "Build", "Module", "CacheLayer"];

/// Fields of those that are read before templates can be, and so cannot be one.
const FIXED: [&str; 4] = ["kind", "type", "name", "apiVersion"];

/// Fields of a project and its environments whose own value cannot be a template; what is in them can.
const FIXED_OUTSIDE: [&str; 4] = ["environments", "providers", "sources", "variables"];

/// Fields of a project that never hold templates, since they say which files the project has.
const PLAIN: [&str; 4] = ["scan", "modules", "dotIgnoreFile", "dotIgnoreFiles"];

/// Lets each field of each definition be a template, or `null`, which is the same as leaving it out; and
/// takes what rustdoc needs out of the descriptions.
pub(super) fn allow(definitions: &mut Value) {
    for (definition, schema) in definitions.as_object_mut().into_iter().flatten() {
        plain_description(schema);
        allow_merging(schema);
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (name, property) in properties.into_iter().flatten() {
            plain_description(property);
            let is_outside = matches!(definition.as_str(), "Project" | "Environment");
            if DOCUMENTS.contains(&definition.as_str()) && FIXED.contains(&name.as_str()) {
                if name == "name" {
                    refuse_templates(property);
                }
            } else if is_outside && FIXED_OUTSIDE.contains(&name.as_str()) {
                or_null(property);
            } else if definition == "Scan" || definition == "Project" && PLAIN.contains(&name.as_str()) {
                plain(property);
            } else {
                or_template(property);
            }
        }
    }
    refuse_templates(&mut definitions["EnvironmentOrName"]["anyOf"][0]);
    definitions["Template"] = json!({
        "anyOf": [
            { "type": "string", "pattern": TEMPLATE },
            { "type": "object", "required": ["$if", "$then"] },
        ],
    });
    definitions["Concatenation"] = json!({ "type": "object", "required": ["$concat"] });
}

/// What a text has in it that is a template.
const TEMPLATE: &str = "\\$\\{";

/// Lets a mapping be put together by `$merge`, which may bring what is required.
fn allow_merging(definition: &mut Value) {
    let Some(mapping) = definition.as_object_mut() else { return };
    if mapping.get("additionalProperties") != Some(&json!(false)) {
        return;
    }
    mapping.insert("patternProperties".to_owned(), json!({ "^\\$merge$": {} }));
    if let Some(required) = mapping.remove("required").filter(|required| *required != json!([])) {
        mapping.insert("anyOf".to_owned(), json!([{ "required": required }, { "required": ["$merge"] }]));
    }
}

/// Lets the items of a list be left out.
fn or_null(schema: &mut Value) {
    if let Some(items) = schema.get_mut("items").filter(|items| items.is_object()) {
        *items = json!({ "anyOf": [items.take(), { "type": "null" }] });
    }
}

/// Forbids templates in a text, besides what else is forbidden there.
fn refuse_templates(text: &mut Value) {
    let template = json!({ "pattern": TEMPLATE });
    text["not"] = match text.get_mut("not").map(Value::take) {
        Some(other) => json!({ "anyOf": [other, template] }),
        None => template,
    };
}

/// Keeps templates out of a text, and of the texts of a list; both may be left out.
fn plain(schema: &mut Value) {
    if let Some(items) = schema.get_mut("items").filter(|items| items.is_object()) {
        plain(items);
    }
    let kind = schema.get("type");
    if kind.is_some_and(|kind| *kind == json!("string") || *kind == json!(["string", "null"])) {
        refuse_templates(schema);
    }
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    *schema = json!({ "anyOf": [schema.take(), { "type": "null" }] });
    if let Some(description) = description {
        schema["description"] = description;
    }
}

fn or_template(schema: &mut Value) {
    if let Some(items) = schema.get_mut("items").filter(|items| items.is_object()) {
        or_template(items);
        // An item can stand for the items of another list.
        if let Some(choices) = items.get_mut("anyOf").and_then(Value::as_array_mut) {
            choices.push(json!({ "$ref": "#/definitions/Concatenation" }));
        }
    }
    if let Some(values) = schema.get_mut("additionalProperties").filter(|values| values.is_object()) {
        or_template(values);
        schema["patternProperties"] = json!({ "^\\$merge$": {} });
    }
    let Some(original) = schema.as_object_mut() else { return };
    let mut original = std::mem::take(original);
    let mut replaced = Map::new();
    for keyword in ["description", "default"] {
        replaced.extend(original.remove(keyword).map(|value| (keyword.to_owned(), value)));
    }
    // The validator of an editor need not know the format.
    if original.get("format") == Some(&json!("uint32")) {
        original.entry("maximum").or_insert_with(|| json!(u32::MAX));
    }
    // What may be anything may be a template already.
    if !original.is_empty() {
        let quoted = quoted(&original);
        let mut choices = vec![Value::Object(original)];
        choices.extend(quoted);
        choices.push(json!({ "$ref": "#/definitions/Template" }));
        choices.push(json!({ "type": "null" }));
        replaced.insert("anyOf".to_owned(), Value::Array(choices));
    }
    *schema = Value::Object(replaced);
}

/// A whole number in quotes, as `Node::as_integer` reads it.
const INTEGER: &str =
    "^\\s*[+-]?(?!0[0-9])([0-9]+(\\.0*)?|([0-9]+(\\.[0-9]*)?|\\.[0-9]+)[eE][+-]?[0-9]+)\\s*$";

/// Garden takes a boolean and a whole number in quotes, too.
fn quoted(schema: &Map<String, Value>) -> Option<Value> {
    let kind = schema.get("type")?;
    let is = |wanted: &str| *kind == json!(wanted) || *kind == json!([wanted, "null"]);
    if is("boolean") {
        Some(json!({ "type": "string", "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$" }))
    } else if is("integer") {
        Some(json!({ "type": "string", "pattern": INTEGER }))
    } else {
        None
    }
}

/// Drops the links and the examples of a documentation comment.
fn plain_description(schema: &mut Value) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let text = description.split("```").next().unwrap_or_default().trim_end();
        *description = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
    }
}
