//! Finding the project file, and the project in it.

use std::io;
use std::path::{Path, PathBuf};

use crate::document::node::Node;
use crate::document::problems::{Problems, Source};
use crate::document::{ellipsis, indicators, suggest, yaml};
use crate::project::files::is_configuration;
use crate::{ConfigError, Position, Project};

/// Loads the project file at `path`, or that in the directory `path`: as with Garden, the one among the files called
/// `garden.yml` or `something.garden.yml`, or the same with the ending `.yaml`, that has a document with `kind: Project`.
///
/// # Errors
/// If there is no such file, there are several in the directory, it cannot be read, or [`parse`] refuses its text.
pub fn load(path: impl AsRef<Path>) -> Result<Project, ConfigError> {
    let path = path.as_ref();
    if path.is_dir() {
        return in_directory(path);
    }
    let text = yaml::read_file(path).map_err(|reason| {
        let hint = "give the path of a project file, or of the directory that holds it";
        ConfigError::whole_file(path, format!("the project file cannot be read: {reason}"), hint)
    })?;
    parse(&text, path)
}

/// Reads a project from `text`, which stands in `file`: messages name the file, and relative paths in
/// the text start at its directory. The file itself is not looked at.
///
/// Documents of other kinds in the same text are left for [`Project::build`]. A line with nothing but `...`,
/// with which the guide's examples leave things out, is ignored.
///
/// # Errors
/// If the text is not YAML, has not exactly one document with `kind: Project`, or that document has
/// unknown or wrong fields. All problems are named.
pub fn parse(text: &str, file: impl AsRef<Path>) -> Result<Project, ConfigError> {
    let source = Source::new(file.as_ref(), text);
    let problems = Problems::new(&source);
    let project =
        documents(&source, &problems).and_then(|documents| Project::of_documents(documents, &problems));
    problems.into_result(project)
}

/// Finds the project among the files of `directory`. One that cannot be read does not stand in the way of another that is the
/// project's.
fn in_directory(directory: &Path) -> Result<Project, ConfigError> {
    let files = configurations(directory).map_err(|error| {
        let message = format!("the directory cannot be listed: {error}");
        ConfigError::whole_file(directory, message, "make it readable, or give the path of the project file")
    })?;
    let (mut found, mut broken) = (Vec::new(), None);
    for file in &files {
        match in_file(file) {
            Ok((source, documents)) if documents.iter().any(|it| kind(it) == Some("Project")) => {
                found.push((source, documents));
            }
            Ok(_) => {}
            Err(error) => broken = broken.or(Some(error)),
        }
    }
    match (found.pop(), found.pop()) {
        (Some((source, documents)), None) => {
            let problems = Problems::new(&source);
            let project = Project::of_documents(documents, &problems);
            problems.into_result(project)
        }
        (Some((second, _)), Some((first, _))) => {
            let message = format!(
                "the directory holds two project files: `{}` and `{}`",
                name(&first.file),
                name(&second.file)
            );
            let hint = "keep one document with `kind: Project`, or give the path of the file";
            Err(ConfigError::whole_file(directory, message, hint))
        }
        (None, _) => Err(broken.unwrap_or_else(|| {
            let names: Vec<String> = files.iter().map(|file| name(file)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let others = match &names[..] {
                [] => String::new(),
                names => format!("; there is none in {}", suggest::quoted(names)),
            };
            let hint = format!(
                "a project file is called `garden.yml` or `….garden.yml`, and has a document with `kind: Project`{others}"
            );
            ConfigError::whole_file(directory, "the directory holds no project file", hint)
        })),
    }
}

/// The files of `directory` that may hold a project, sorted.
fn configurations(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        if is_configuration(&entry.file_name()) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn in_file(file: &Path) -> Result<(Source, Vec<Node>), ConfigError> {
    let text = yaml::read_file(file).map_err(|reason| {
        let message = format!("the file cannot be read: {reason}");
        ConfigError::whole_file(file, message, "mend it, or give the path of the project file")
    })?;
    let source = Source::new(file, &text);
    let problems = Problems::new(&source);
    let documents = documents(&source, &problems);
    Ok((source, problems.into_result(documents)?))
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Parses the YAML documents of a file; `None` if it is not YAML, which is reported.
pub(crate) fn documents(source: &Source, problems: &Problems) -> Option<Vec<Node>> {
    match yaml::parse_documents(&ellipsis::blank_ellipses(&source.text)) {
        Ok(documents) => Some(documents),
        Err(error) => {
            let position = error.position.unwrap_or(Position::START);
            let hint = error.position.and_then(|position| indicators::hint(&source.text, position));
            problems.report(position, format!("this is not valid YAML: {}", error.message), hint);
            None
        }
    }
}

/// What a document says it is.
pub(crate) fn kind(document: &Node) -> Option<&str> {
    document.as_mapping()?.get("kind")?.as_text()
}

/// Finds the one document with `kind: Project`.
pub(crate) fn find_project<'a>(documents: &'a [Node], problems: &Problems) -> Option<&'a Node> {
    let mut projects = documents.iter().filter(|document| kind(document) == Some("Project"));
    let first = projects.next();
    let Some(first) = first else {
        let kinds: Vec<&str> = documents.iter().filter_map(kind).collect();
        let found =
            if kinds.is_empty() { String::new() } else { format!(", only {}", suggest::quoted(&kinds)) };
        let position = documents.first().map_or(Position::START, |document| document.position);
        let hint = "a project file starts with `kind: Project`".to_owned();
        problems.report(position, format!("there is no document with `kind: Project`{found}"), Some(hint));
        return None;
    };
    for other in projects {
        let message = "there is another document with `kind: Project`";
        let hint = format!("the first is on line {}; keep one of them in this file", first.position.line);
        problems.report(other.position, message, Some(hint));
    }
    Some(first)
}
