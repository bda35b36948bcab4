//! Files of variables: `varfile`, `varfiles` and `importVariables`.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::document::decode::{Fields, items, report_duplicate_keys, text};
use crate::document::node::{Entry, Mapping, Node, Value};
use crate::document::problems::{Problems, Source};
use crate::document::yaml;
use crate::keys::{Keys, resolve};
use crate::project::variable_files::VariableFiles;
use crate::project::{VariableFields, dotenv, links};
use crate::{NoticeKind, Position, javascript, project};

/// Loads the file that `fields` name. Without a `varfile` the file `default_file` counts if it exists; paths start at the
/// directory of the file with the fields.
pub(crate) fn of_fields(
    fields: &VariableFields,
    default_file: &str,
    keys: &Keys<'_>,
    files: &VariableFiles,
    problems: &Problems,
) -> Option<Node> {
    let Some(node) = &fields.varfile else {
        return load(default_file, false, Position::START, files, problems);
    };
    let node = resolve::all(node, keys, problems);
    let path = text(&node, "`varfile`", problems)?;
    load(path, path != default_file, node.position, files, problems)
}

/// Loads an action's `varfiles`: paths, or mappings with `path` and `optional`.
pub(crate) fn of_list(node: &Node, files: &VariableFiles, problems: &Problems) -> Vec<Node> {
    let mut loaded = Vec::new();
    for item in items(node, "`varfiles`", problems) {
        if item.as_mapping().is_none() {
            let path = text(item, "each of `varfiles`", problems);
            loaded.extend(path.and_then(|path| load(path, true, item.position, files, problems)));
            continue;
        }
        let Some(fields) = Fields::open(item, "each of `varfiles`", problems) else { continue };
        let optional = fields.flag("optional").unwrap_or(false);
        let path = fields.required_text("path");
        loaded.extend(path.and_then(|path| load(path, !optional, item.position, files, problems)));
        fields.finish();
    }
    loaded
}

/// What `${imported.…}` stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Imported {
    pub(crate) variables: Map<String, Json>,
    /// The first source that was passed over, which may have what is missing.
    pub(crate) passed_over: Option<Position>,
}

/// Loads what `importVariables` names, the later source winning. Only files can be read here.
///
/// Source: Garden 0.14, `core/src/config/import-variables.ts`.
pub(crate) fn imported(node: &Node, keys: &Keys<'_>, files: &VariableFiles, problems: &Problems) -> Imported {
    let node = resolve::all(node, keys, problems);
    let mut imported = Imported::default();
    for item in items(&node, "`importVariables`", problems) {
        let Some(fields) = Fields::open(item, "each of `importVariables`", problems) else { continue };
        fields.set_aside(&["description", "list", "command"]);
        let _ = fields.required_text("from");
        let Some(from) = fields.choice("from", &[("file", true), ("garden-cloud", false), ("exec", false)])
        else {
            continue;
        };
        if !from {
            problems.notice(
                NoticeKind::NoEffect,
                "importVariables",
                item.position,
                "variables are imported from files only, so these are not set",
                "write them into a file, and import that",
            );
            imported.passed_over = imported.passed_over.or(Some(item.position));
            continue;
        }
        let path = fields.required_text("path");
        let _ = fields.required_text("format");
        let formats = [("yaml", Format::Yaml), ("json", Format::Yaml), ("dotenv", Format::Dotenv)];
        let format = fields.choice("format", &formats);
        fields.finish();
        let (Some(path), Some(format)) = (path, format) else { continue };
        match import(path, format, item.position, files, problems) {
            Some(variables) => imported.variables.extend(variables),
            None => imported.passed_over = imported.passed_over.or(Some(item.position)),
        }
    }
    imported
}

/// Imports from the file at `path`; one that does not exist has no variables. All are texts.
fn import(
    path: &str,
    format: Format,
    position: Position,
    files: &VariableFiles,
    problems: &Problems,
) -> Option<Map<String, Json>> {
    let file = problems.path(path, position)?;
    if files.get(&file, format).is_none() && !file.exists() {
        problems.notice(
            NoticeKind::NoEffect,
            "importVariables",
            position,
            format!("the file of variables `{path}` does not exist, so nothing is imported from it"),
            "its path is relative to the directory of the project file",
        );
        return None;
    }
    let text = |value: Json| match value {
        Json::Null => Json::String(String::new()),
        Json::Array(_) | Json::Object(_) => Json::String(value.to_string()),
        value => javascript::text(&value).map_or(value, Json::String),
    };
    match load_as(path, &file, format, position, files, problems)?.to_json() {
        Json::Object(values) => Some(values.into_iter().map(|(name, value)| (name, text(value))).collect()),
        _ => None,
    }
}

/// Loads the file at `path`, which the text at `position` names. One that is not `required` need not exist.
fn load(
    path: &str,
    required: bool,
    position: Position,
    files: &VariableFiles,
    problems: &Problems,
) -> Option<Node> {
    let file = problems.path(path, position)?;
    let format = Format::of(&file);
    if !required && files.get(&file, format).is_none() && !file.exists() {
        return None;
    }
    load_as(path, &file, format, position, files, problems)
}

/// Loads the file `file`, which the text at `position` names by `path`. A problem with a variable is reported at that text.
fn load_as(
    path: &str,
    file: &Path,
    format: Format,
    position: Position,
    files: &VariableFiles,
    problems: &Problems,
) -> Option<Node> {
    let variables = match files.get(file, format) {
        Some(variables) => Ok(variables),
        None => read_once(path, file, format, files, problems.source()),
    };
    match variables {
        Ok(variables) => Some(Node::clone(&variables).moved(position)),
        Err((message, hint)) => {
            problems.report(position, message, hint);
            None
        }
    }
}

/// Reads the file `file`, unless it was read by another path; the error is a message and what to do.
fn read_once(
    path: &str,
    file: &Path,
    format: Format,
    files: &VariableFiles,
    source: &Source,
) -> Result<Arc<Node>, (String, Option<String>)> {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    if let Some(variables) = files.get(&real, format) {
        return Ok(files.keep(file, format, variables, 0));
    }
    let text = read(&real, source).map_err(|reason| {
        let hint = "its path is relative to the directory of the file that names it".to_owned();
        (format!("the file of variables `{path}` cannot be read: {reason}"), Some(hint))
    })?;
    let variables = variables(&text, file, format)
        .map_err(|reason| (format!("the file of variables `{path}`: {reason}"), None))?;
    let variables = files.keep(&real, format, Arc::new(variables), text.len());
    Ok(files.keep(file, format, variables, 0))
}

/// Reads the file at `path`. In a confined project it is reached from the project's directory without following links
/// any more.
fn read(path: &Path, source: &Source) -> Result<String, String> {
    source.boundary().map_or_else(|| yaml::read_file(path), |boundary| links::read_inside(boundary, path))
}

/// How variables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Format {
    /// YAML, of which JSON is a part.
    Yaml,
    Dotenv,
}

impl Format {
    /// The name tells the format: YAML, JSON, and dotenv for all others, as with all Gardens.
    fn of(file: &Path) -> Self {
        let extension = file.extension().and_then(|it| it.to_str()).unwrap_or_default().to_lowercase();
        if matches!(extension.as_str(), "yml" | "yaml" | "json") { Self::Yaml } else { Self::Dotenv }
    }
}

/// Reads a file of variables. Problems quote nothing of the file, as such files hold secrets.
fn variables(text: &str, file: &Path, format: Format) -> Result<Node, String> {
    if let Format::Dotenv = format {
        return Ok(dotenv::parse(text));
    }
    let problems = Problems::new(&Source::new(file, text));
    let documents = project::documents(problems.source(), &problems);
    if let Some([document]) = documents.as_deref() {
        report_duplicate_keys(document, &problems);
    }
    let result = problems.into_result(documents);
    let documents = result.map_err(|error| {
        let first = error.problems().first();
        let position = first.and_then(|problem| problem.position).unwrap_or(Position::START);
        format!("it cannot be understood at line {}, column {}", position.line, position.column)
    })?;
    match <[Node; 1]>::try_from(documents) {
        Ok([document]) if document.as_mapping().is_some() => Ok(document),
        Ok(_) => Err("it must be a mapping".to_owned()),
        Err(documents) if documents.is_empty() => Ok(mapping(Vec::new())),
        Err(_) => Err("it must be one document".to_owned()),
    }
}

fn mapping(entries: Vec<Entry>) -> Node {
    Node { position: Position::START, value: Value::Mapping(Mapping(entries)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<serde_json::Value, String> {
        variables(text, Path::new(name), Format::of(Path::new(name))).map(|node| node.to_json())
    }

    #[test]
    fn reads_dotenv_by_any_other_ending() {
        for name in ["x.env", "variables", "x.yml.txt"] {
            assert_eq!(read(name, "A=1\nB: 2\nnothing\n"), Ok(serde_json::json!({ "A": "1", "B": "2" })));
        }
    }

    #[test]
    fn reads_yaml_and_json_by_the_ending() {
        let expected = serde_json::json!({ "a": { "b": [1, true] } });
        assert_eq!(read("x.yml", "a:\n  b: [1, true]\n"), Ok(expected.clone()));
        assert_eq!(read("x.JSON", "{\"a\": {\"b\": [1, true]}}"), Ok(expected));
        assert_eq!(read("x.yaml", "# nothing\n"), Ok(serde_json::json!({})));
    }

    #[test]
    fn says_what_is_wrong_without_quoting_the_file() {
        for (name, text, message) in [
            ("x.yml", "- s3cret\n", "it must be a mapping"),
            ("x.yml", "a: 1\n---\nb: 1\n", "it must be one document"),
            ("x.yml", "a: s3cret: b\n", "it cannot be understood at line 1, column 10"),
            ("x.yml", "a: 1\na: s3cret\n", "it cannot be understood at line 2, column 1"),
        ] {
            assert_eq!(read(name, text), Err(message.to_owned()), "{text}");
        }
    }
}
