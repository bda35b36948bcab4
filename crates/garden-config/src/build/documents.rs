//! Finding a module or an action by its name.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::build::unexpanded::{Templates, Unexpanded};
use crate::build::{action, lacks_dockerfile, module};
use crate::document::decode::Fields;
use crate::document::node::{Mapping, Node, Value};
use crate::document::placeholder::is_template;
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
#[derive(Debug, Default)]
pub(crate) struct Documents {
    builds: Vec<BuildDocument>,
    /// The names of others, with their kinds: a `Deploy` of the name that is looked for explains much.
    others: Vec<(String, String)>,
    unexpanded: Unexpanded,
    broken: Option<ConfigError>,
}

/// The documents, once they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadOnce(Arc<OnceLock<Documents>>);

impl ReadOnce {
    /// Returns them, and reads them first if that has not succeeded yet.
    pub(crate) fn get(
        &self,
        read: impl FnOnce() -> Result<Documents, ConfigError>,
    ) -> Result<&Documents, ConfigError> {
        match self.0.get() {
            Some(documents) => Ok(documents),
            None => read().map(|documents| self.0.get_or_init(|| documents)),
        }
    }
}

/// Whether the files of a project were read already makes no difference to what it is.
impl PartialEq for ReadOnce {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Finds the module or action `name`. A file that is not YAML does not stand in the way of what other
/// files say.
pub(crate) fn find<'p>(project: &'p Project, name: &str) -> Result<&'p BuildDocument, ConfigError> {
    let documents = project.documents()?;
    let mut found = documents.builds.iter().filter(|build| build.name() == Some(name));
    match (found.next(), found.next_back()) {
        (Some(build), None) => Ok(build),
        (Some(first), Some(second)) => {
            let problems = Problems::new(&second.source);
            let place = format!("{}:{}", first.source.file.display(), first.node.position.line);
            let message =
                format!("there are two modules or actions called `{name}`; the other is at {place}");
            problems.report(second.node.position, message, Some("rename one of the two".to_owned()));
            Err(problems.into_error())
        }
        (None, _) => Err(documents.broken.clone().unwrap_or_else(|| unknown(project, name, documents))),
    }
}

/// Returns the names of all container modules and Build actions that `environment` builds, sorted; all of them only if no
/// document may make others.
pub(crate) fn names(environment: &Environment<'_>) -> Result<Vec<String>, ConfigError> {
    let names = written_names(environment)?;
    let project = environment.project();
    project.documents()?.unexpanded.error(project).map_or(Ok(names), Err)
}

/// Returns the names of those that are written out in files.
pub(crate) fn written_names(environment: &Environment<'_>) -> Result<Vec<String>, ConfigError> {
    let documents = environment.project().documents()?;
    if let Some(error) = &documents.broken {
        return Err(error.clone());
    }
    documents.builds.iter().try_for_each(BuildDocument::check_written_out)?;
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

    /// Makes sure that name and type are there to be read: whoever passed over one without would give a part for the whole.
    /// Garden wants both written out, too.
    fn check_written_out(&self) -> Result<(), ConfigError> {
        let problems = Problems::new(&self.source);
        for field in ["name", "type"] {
            let node = self.node.as_mapping().and_then(|mapping| mapping.get(field));
            if node.and_then(Node::as_text).is_some_and(|text| !is_template(text)) {
                continue;
            }
            let message = format!("a {} needs the field `{field}`, written out as text", self.what());
            let hint = "write it in the document itself, without a template".to_owned();
            problems.report(node.map_or(self.node.position, |node| node.position), message, Some(hint));
        }
        problems.into_result(Some(()))
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
        let asked =
            ["disabled", "environments", "image", "dockerfile"].into_iter().filter_map(asked).collect();
        let node = Node { position: self.node.position, value: Value::Mapping(Mapping(asked)) };
        let problems = Problems::new(&self.source);
        let own = self.own_variables(environment, &problems);
        let keys = environment.keys(self.this(environment, own.as_ref()), own.as_ref());
        let node = resolve::all(&node, &keys, &problems);
        let Some(fields) = Fields::open(&node, "a build", &problems) else { return true };
        let disabled = fields.flag("disabled") == Some(true);
        let elsewhere = self.generation == BuildGeneration::Action
            && fields.node("environments").is_some_and(|node| leaves_out(node, environment.name()));
        let as_it_is = self.generation == BuildGeneration::Module && self.uses_image(&fields);
        !disabled && !elsewhere && !as_it_is
    }

    /// Whether the module names an image and has no Dockerfile to build it from; which image does not matter.
    fn uses_image(&self, fields: &Fields<'_>) -> bool {
        let is_false = |node: &Node| node.value == Value::Bool(false);
        let dockerfile = match fields.node("dockerfile") {
            // Where the Dockerfile would be cannot be told.
            Some(Node { value: Value::Unresolved, .. }) => return false,
            node => node.and_then(Node::as_text).unwrap_or("Dockerfile"),
        };
        fields.node("image").is_some_and(|image| !is_false(image))
            && lacks_dockerfile(self.directory(), Path::new(dockerfile))
    }

    /// Its own variables, with those of its files on top.
    pub(crate) fn own_variables(&self, environment: &Environment<'_>, problems: &Problems) -> Option<Node> {
        match self.generation {
            BuildGeneration::Module => module::own_variables(self, environment, problems),
            BuildGeneration::Action => action::own_variables(self, environment, problems),
        }
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.node.as_mapping()?.get(field)?.as_text()
    }
}

/// Whether a list of `environments` is known not to have this one.
fn leaves_out(environments: &Node, name: &str) -> bool {
    match &environments.value {
        Value::Sequence(items) => {
            items.iter().all(|item| item.as_text().is_some_and(|environment| environment != name))
        }
        _ => false,
    }
}

impl Documents {
    /// Reads the files of `project`; `own` are the documents of its own one.
    pub(crate) fn read(project: &Project, own: &[Node]) -> Result<Self, ConfigError> {
        let mut all = Self::default();
        let mut templates = Templates::default();
        let mut add = |source: &Source, node: Node| {
            templates.add(&node);
            all.add(source, node);
        };
        for node in own {
            add(&project.source, node.clone());
        }
        let mut broken = None;
        for source in files::others(project)? {
            let problems = Problems::new(&source);
            let documents = project::documents(&source, &problems);
            match problems.into_result(documents) {
                Ok(documents) => documents.into_iter().for_each(|node| add(&source, node)),
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        all.broken = broken;
        all.unexpanded.retain_builders(&templates);
        Ok(all)
    }

    fn add(&mut self, source: &Source, node: Node) {
        self.unexpanded.add(source, &node);
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

fn unknown(project: &Project, name: &str, documents: &Documents) -> ConfigError {
    let problems = Problems::new(&project.source);
    let names: Vec<&str> = documents.builds.iter().filter_map(BuildDocument::name).collect();
    let message = format!("the project has no module and no Build action `{name}`");
    let known = documents.others.iter().find(|(_, other)| other == name);
    let meant = suggest::closest(name, &names).map(|name| format!("did you mean `{name}`?"));
    let hint = match (known, documents.unexpanded.origins(project)) {
        (Some((kind, _)), _) => format!("`{name}` is the name of a `kind: {kind}`, which is not built"),
        (None, Some(origins)) => {
            let meant = meant.map(|meant| format!("{meant} Or ")).unwrap_or_default();
            format!("{meant}it may come from {origins}, which are not expanded here")
        }
        (None, None) => meant.unwrap_or_else(|| match &names[..] {
            [] => "they are read from files called `garden.yml` or `….garden.yml`".to_owned(),
            names => format!("it has {}", suggest::quoted(names)),
        }),
    };
    problems.report(Position::START, message, Some(hint));
    problems.into_error()
}
