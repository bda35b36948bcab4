//! Finding a module or an action by its name.

use std::path::Path;

use crate::build::lacks_dockerfile;
use crate::document::decode::Fields;
use crate::document::node::{Mapping, Node, Value};
use crate::document::problems::{Problems, Source};
use crate::document::suggest;
use crate::keys::resolve;
use crate::project::files;
use crate::{ConfigError, Environment, Position, Project, project};

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

/// Returns the names of all container modules and Build actions that `environment` builds, sorted.
pub(crate) fn names(environment: &Environment<'_>) -> Result<Vec<String>, ConfigError> {
    let documents = Documents::read(environment.project())?;
    if let Some(error) = documents.broken {
        return Err(error);
    }
    let containers = documents.builds.iter().filter(|build| build.text("type") == Some("container"));
    let containers = containers.filter(|build| build.is_wanted(environment));
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

    /// What Garden calls it.
    fn what(&self) -> &'static str {
        match self.generation {
            BuildGeneration::Module => "module",
            BuildGeneration::Action => "Build action",
        }
    }

    /// Makes sure that it is a container image that is built.
    pub(crate) fn check_type(&self, problems: &Problems) -> Option<()> {
        let node = self.node.as_mapping().and_then(|mapping| mapping.get("type"));
        let what = self.what();
        match node.and_then(Node::as_text) {
            Some("container") => Some(()),
            Some(other) => {
                let name = self.name().unwrap_or_default();
                let message =
                    format!("the {what} `{name}` has the type `{other}`; only `container` can be built here");
                problems.report(node.map_or(self.node.position, |node| node.position), message, None);
                None
            }
            None => {
                let hint = Some("write `type: container`".to_owned());
                problems.report(self.node.position, format!("a {what} needs the field `type`"), hint);
                None
            }
        }
    }

    pub(crate) fn refuse_disabled(&self, fields: &Fields<'_>, problems: &Problems) {
        if fields.flag("disabled") == Some(true) {
            let what = self.what();
            let hint =
                format!("remove `disabled` from the {what}, or select an environment in which it is false");
            problems.report(fields.key_position("disabled"), format!("the {what} is disabled"), Some(hint));
        }
    }

    /// Whether it is built in `environment`: not if it is disabled there, an action of other environments, or a
    /// module that uses an image as it is. One of which this cannot be told is.
    fn is_wanted(&self, environment: &Environment<'_>) -> bool {
        let Some(mapping) = self.node.as_mapping() else { return false };
        let asked = |name: &str| mapping.entry(name).cloned();
        let node = Node {
            position: self.node.position,
            value: Value::Mapping(Mapping(
                ["disabled", "environments", "image"].into_iter().filter_map(asked).collect(),
            )),
        };
        let problems = Problems::new(&self.source);
        let node = resolve::all(
            &node,
            &environment.keys(self.this(environment, mapping.get("variables")), mapping.get("variables")),
            &problems,
        );
        let Some(fields) = Fields::open(&node, "a build", &problems) else { return true };
        let disabled = fields.flag("disabled") == Some(true);
        let elsewhere = self.generation == BuildGeneration::Action
            && fields.node("environments").is_some()
            && !fields.texts("environments").iter().any(|name| name == environment.name());
        let dockerfile = mapping.get("dockerfile").and_then(Node::as_text).unwrap_or("Dockerfile");
        let as_it_is = self.generation == BuildGeneration::Module
            && fields.node("image").is_some_and(|node| node.as_text().is_some())
            && lacks_dockerfile(self.directory(), Path::new(dockerfile));
        !disabled && !elsewhere && !as_it_is
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
