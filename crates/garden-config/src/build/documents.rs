//! Finding a module or an action by its name.

use std::path::Path;

use crate::document::node::Node;
use crate::document::problem::{Problems, Source};
use crate::document::suggest;
use crate::project::files;
use crate::{ConfigError, Position, Project, project};

/// A document that tells how something is built.
#[derive(Debug)]
pub(crate) struct BuildDocument {
    pub(crate) source: Source,
    pub(crate) node: Node,
    pub(crate) generation: BuildGeneration,
}

/// How Garden calls what is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildGeneration {
    /// `kind: Module`, until Garden 0.12 and still read by later ones.
    Module,
    /// `kind: Build`, since Garden 0.13.
    Action,
}

/// All documents of a project's files, and what went wrong with some.
struct Documents {
    builds: Vec<BuildDocument>,
    /// The names of others, with their kinds: a `Deploy` of the name that is looked for explains much.
    others: Vec<(String, String)>,
    broken: Option<ConfigError>,
}

/// Finds the module or action `name`. A file that is not YAML does not stand in the way of what other
/// files say.
pub(crate) fn find(project: &Project, name: &str) -> Result<BuildDocument, ConfigError> {
    let documents = Documents::read(project)?;
    let (mut found, rest): (Vec<_>, Vec<_>) =
        documents.builds.into_iter().partition(|build| build.name() == Some(name));
    match (found.pop(), found.first()) {
        (Some(build), None) => Ok(build),
        (Some(second), Some(first)) => {
            let problems = Problems::new(&second.source);
            let place = format!("{}:{}", first.source.file.display(), first.node.position.line);
            let message =
                format!("there are two modules or actions called `{name}`; the other is at {place}");
            problems.report(second.node.position, message, Some("rename one of the two".to_owned()));
            Err(problems.into_error())
        }
        (None, _) => Err(documents.broken.unwrap_or_else(|| {
            let names: Vec<&str> = rest.iter().filter_map(BuildDocument::name).collect();
            unknown(project, name, &names, &documents.others)
        })),
    }
}

/// Returns the names of all container modules and Build actions, sorted.
pub(crate) fn names(project: &Project) -> Result<Vec<String>, ConfigError> {
    let documents = Documents::read(project)?;
    if let Some(error) = documents.broken {
        return Err(error);
    }
    let containers = documents.builds.iter().filter(|build| build.text("type") == Some("container"));
    let mut names: Vec<String> = containers.filter_map(BuildDocument::name).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

impl BuildDocument {
    pub(crate) fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// The directory that the file lies in.
    pub(crate) fn directory(&self) -> &Path {
        self.source.directory()
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.node.as_mapping()?.get(field)?.as_text()
    }
}

impl Documents {
    fn read(project: &Project) -> Result<Self, ConfigError> {
        let mut all = Self { builds: Vec::new(), others: Vec::new(), broken: None };
        for source in files::sources(project)? {
            let problems = Problems::new(&source);
            let documents = project::documents(&source, &problems);
            match problems.into_result(documents) {
                Ok(documents) => documents.into_iter().for_each(|node| all.add(&source, node)),
                Err(error) => all.broken = all.broken.or(Some(error)),
            }
        }
        Ok(all)
    }

    fn add(&mut self, source: &Source, node: Node) {
        let generation = match project::kind(&node) {
            Some("Module") => BuildGeneration::Module,
            Some("Build") => BuildGeneration::Action,
            Some(kind) => {
                let name = node.as_mapping().and_then(|it| it.get("name")).and_then(Node::as_text);
                self.others.extend(name.map(|name| (kind.to_owned(), name.to_owned())));
                return;
            }
            None => return,
        };
        self.builds.push(BuildDocument { source: source.clone(), node, generation });
    }
}

fn unknown(project: &Project, name: &str, names: &[&str], others: &[(String, String)]) -> ConfigError {
    let problems = Problems::new(&project.source);
    let message = format!("the project has no module and no Build action `{name}`");
    let hint = match others.iter().find(|(_, other)| other == name) {
        Some((kind, _)) => Some(format!("`{name}` is the name of a `kind: {kind}`, which is not built")),
        None => suggest::closest(name, names).map(|name| format!("did you mean `{name}`?")),
    };
    let templates = others.iter().any(|(kind, _)| kind.ends_with("Template"));
    let hint = hint.unwrap_or_else(|| match (names, templates) {
        (_, true) => "modules and actions that templates make are not expanded here".to_owned(),
        ([], _) => "they are read from files called `garden.yml` or `….garden.yml`".to_owned(),
        (names, _) => format!("it has {}", suggest::quoted(names)),
    });
    problems.report(Position::START, message, Some(hint));
    problems.into_error()
}
