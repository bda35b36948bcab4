//! Files of variables: `varfile`, `varfiles` and `importVariables`.

use std::io;
use std::path::Path;

use garden_build_core::context::OpenDirectory;
use garden_build_core::read_at_most;

use crate::document::decode::{Fields, items, report_duplicate_keys, text};
use crate::document::node::{Entry, Mapping, Node, Value};
use crate::document::problems::{Problems, Source};
use crate::document::yaml;
use crate::keys::{Keys, resolve};
use crate::project::VariableFields;
use crate::{NoticeKind, Position, project};

/// Loads the files that `fields` name, lowest first. Without a `varfile` the file `default_file` counts if
/// it exists; paths start at the directory of the file with the fields.
pub(crate) fn of_fields(
    fields: &VariableFields,
    default_file: &str,
    keys: &Keys<'_>,
    problems: &Problems,
) -> Vec<Node> {
    let mut files = Vec::new();
    if let Some(node) = &fields.imports {
        files.extend(imported(&resolve::all(node, keys, problems), problems));
    }
    match &fields.varfile {
        Some(node) => {
            let node = resolve::all(node, keys, problems);
            let path = text(&node, "`varfile`", problems);
            files.extend(path.and_then(|path| load(path, path != default_file, node.position, problems)));
        }
        None => files.extend(load(default_file, false, Position::START, problems)),
    }
    files
}

/// Loads an action's `varfiles`: paths, or mappings with `path` and `optional`.
pub(crate) fn of_list(node: &Node, problems: &Problems) -> Vec<Node> {
    let mut files = Vec::new();
    for item in items(node, "`varfiles`", problems) {
        if item.as_mapping().is_none() {
            let path = text(item, "each of `varfiles`", problems);
            files.extend(path.and_then(|path| load(path, true, item.position, problems)));
            continue;
        }
        let Some(fields) = Fields::open(item, "each of `varfiles`", problems) else { continue };
        let optional = fields.flag("optional").unwrap_or(false);
        let path = fields.required_text("path");
        files.extend(path.and_then(|path| load(path, !optional, item.position, problems)));
        fields.finish();
    }
    files
}

/// Loads what `importVariables` names. Only files can be read here.
fn imported(node: &Node, problems: &Problems) -> Vec<Node> {
    let mut files = Vec::new();
    for item in items(node, "`importVariables`", problems) {
        let Some(fields) = Fields::open(item, "each of `importVariables`", problems) else { continue };
        // The ending of the name tells the format.
        fields.set_aside(&["description", "format", "list", "command"]);
        let from = fields.choice("from", &[("file", true), ("garden-cloud", false), ("exec", false)]);
        let path = fields.text("path");
        fields.finish();
        match (from, path) {
            (Some(true), Some(path)) => files.extend(load(path, true, item.position, problems)),
            (Some(true), None) => {
                problems.report(item.position, "an import from a file needs the field `path`", None);
            }
            (Some(false), _) => problems.notice(
                NoticeKind::NoEffect,
                "importVariables",
                item.position,
                "variables are imported from files only, so these are not set",
                "put them into a file, or set them with `Project::with_variable`",
            ),
            (None, _) => {}
        }
    }
    files
}

/// Loads the file at `path`, which the text at `position` names. One that is not `required` need not exist.
fn load(path: &str, required: bool, position: Position, problems: &Problems) -> Option<Node> {
    let file = problems.path(path, position)?;
    if !required && !file.exists() {
        return None;
    }
    let text = match read(&file, problems.source()) {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("the file of variables `{path}` cannot be read: {reason}");
            let hint = "its path starts at the directory of the file that names it".to_owned();
            problems.report(position, message, Some(hint));
            return None;
        }
    };
    match variables(&text, &file) {
        Ok(node) => Some(node),
        Err(reason) => {
            problems.report(position, format!("the file of variables `{path}`: {reason}"), None);
            None
        }
    }
}

/// Reads the file at `path`. In a confined project it is reached from the project's directory without following links
/// any more, so that nothing can be put in its place since it was looked at.
fn read(path: &Path, source: &Source) -> Result<String, String> {
    let Some(boundary) = source.boundary() else { return yaml::read_file(path) };
    let opened = OpenDirectory::open(boundary).and_then(|boundary| {
        let inside = path.strip_prefix(boundary.path()).map_err(|_| io::ErrorKind::NotFound)?;
        boundary.file(inside)
    });
    match opened {
        Ok(Some((file, _))) => yaml::text(read_at_most(file, yaml::SIZE_LIMIT)),
        Ok(None) => Err("it is not a file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a file of variables, whose name tells the format: YAML, JSON, and dotenv for all others, as with
/// Garden 0.12. Problems quote nothing of the file, as such files hold secrets.
fn variables(text: &str, file: &Path) -> Result<Node, String> {
    let extension = file.extension().and_then(|it| it.to_str()).unwrap_or_default().to_lowercase();
    if !matches!(extension.as_str(), "yml" | "yaml" | "json") {
        return dotenv(text);
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

/// Reads lines `NAME=value`, as the package `dotenv` that Garden uses does: `export` before the name,
/// values in single, double or back quotes, `\n` in double ones, comments.
fn dotenv(text: &str) -> Result<Node, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let first = rest.lines().next().unwrap_or_default();
        let mut used = first.len();
        if !first.trim().is_empty() && !first.trim_start().starts_with('#') {
            let (name, behind) =
                first.split_once('=').ok_or_else(|| format!("line {line} is not `NAME=value`"))?;
            let name = name.trim();
            let name = name.strip_prefix("export ").map_or(name, str::trim_start);
            // A value in quotes may go on over several lines.
            let quoted = rest[first.len() - behind.len()..].trim_start_matches([' ', '\t']);
            let value = match quoted.chars().next() {
                Some(quote @ ('"' | '\'' | '`')) => {
                    let end = quoted[1..].find(quote);
                    let end = end.ok_or_else(|| format!("the quotes on line {line} are not closed"))?;
                    used = rest.len() - quoted.len() + end + 2;
                    let value = &quoted[1..=end];
                    if quote == '"' {
                        value.replace("\\n", "\n").replace("\\r", "\r")
                    } else {
                        value.to_owned()
                    }
                }
                _ => behind.split(" #").next().unwrap_or(behind).trim().to_owned(),
            };
            let position = Position { line, column: 1 };
            let value = Node { position, value: Value::String(value) };
            entries.push(Entry { key: name.to_owned(), key_position: position, value });
        }
        // Nothing counts behind the value.
        used += rest[used..].find('\n').map_or(rest.len() - used, |end| end + 1);
        line += rest[..used].matches('\n').count();
        rest = &rest[used..];
    }
    // The last one of a name wins, as where layers are merged.
    let mut merged = mapping(Vec::new());
    merged.merge(&mapping(entries));
    Ok(merged)
}

fn mapping(entries: Vec<Entry>) -> Node {
    Node { position: Position::START, value: Value::Mapping(Mapping(entries)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<serde_json::Value, String> {
        variables(text, Path::new(name)).map(|node| node.to_json())
    }

    #[test]
    fn reads_dotenv_as_the_package_does() {
        let text = "# comment\nA=1\nexport B = two words # why\nC='a # b' # c\nD=\"x\\ny\"\nE=\"first\nsecond\"\nF=\n\
                    G=`a\"'b`\nH=a=b\r\nI=pa$$word\nA=2\n";
        let expected = serde_json::json!({
            "A": "2", "B": "two words", "C": "a # b", "D": "x\ny", "E": "first\nsecond", "F": "", "G": "a\"'b",
            "H": "a=b", "I": "pa$$word",
        });
        assert_eq!(read("x.env", text), Ok(expected));
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
            ("x.env", "A=1\ns3cret\n", "line 2 is not `NAME=value`"),
            ("x.env", "A=\"s3cret\n", "the quotes on line 1 are not closed"),
            ("x.yml", "- s3cret\n", "it must be a mapping"),
            ("x.yml", "a: 1\n---\nb: 1\n", "it must be one document"),
            ("x.yml", "a: s3cret: b\n", "it cannot be understood at line 1, column 10"),
            ("x.yml", "a: 1\na: s3cret\n", "it cannot be understood at line 2, column 1"),
        ] {
            assert_eq!(read(name, text), Err(message.to_owned()), "{text}");
        }
    }
}
