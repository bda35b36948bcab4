//! Finding a module or an action by its name.

use std::collections::BTreeMap;
use std::path::Path;

use crate::build::effort::Effort;
use crate::build::kinds::{BuildGeneration, Product};
use crate::build::reading::Documents;
use crate::build::{action, module};
use crate::document::decode::Fields;
use crate::document::node::{Entry, Mapping, Node, Value};
use crate::document::placeholder::is_template;
use crate::document::problems::{Problems, Source};
use crate::document::suggest;
use crate::keys::declared::DeclaredVariables;
use crate::keys::{Keys, resolve};
use crate::{ConfigError, Environment, Position, Problem, Project};

/// A document that tells how something is built.
#[derive(Debug)]
pub(crate) struct BuildDocument {
    pub(crate) source: Source,
    pub(crate) node: Node,
    pub(crate) generation: BuildGeneration,
}

/// Finds the module or action `name`. What is wrong with other documents does not stand in the way of one that is found.
pub(crate) fn find<'e>(environment: &Environment<'e>, name: &str) -> Result<&'e BuildDocument, ConfigError> {
    let project = environment.project();
    let documents = project.documents()?;
    let named = documents.builds.iter().filter(|build| build.name() == Some(name)).collect();
    match counted(named, &Effort::begin(environment))[..] {
        [] => Err(documents.refused().unwrap_or_else(|| unknown(project, name, documents))),
        [build] => Ok(build),
        [first, .., last] => Err(declared_twice(first, last, name)),
    }
}

/// Returns the names of all container modules and Build actions that `environment` builds, sorted; all of them only if
/// nothing else may make images.
pub(crate) fn names(environment: &Environment<'_>) -> Result<Vec<String>, ConfigError> {
    let effort = Effort::begin(environment);
    let names = names_within(&effort)?;
    let project = environment.project();
    let documents = project.documents()?;
    let mut elsewhere = documents.unexpanded.problems(project);
    for build in &documents.builds {
        if elsewhere.len() >= Documents::MOST_PROBLEMS {
            break;
        }
        if build.product() == Some(Product::ForeignImage) && !build.is_disabled(&effort) {
            elsewhere.extend(build.foreign_image().problems().iter().cloned());
        }
    }
    if elsewhere.is_empty() { Ok(names) } else { Err(ConfigError::new(elsewhere)) }
}

/// Returns the names of those that are written out in files.
pub(crate) fn written_names(environment: &Environment<'_>) -> Result<Vec<String>, ConfigError> {
    names_within(&Effort::begin(environment))
}

fn names_within(effort: &Effort<'_, '_>) -> Result<Vec<String>, ConfigError> {
    let documents = effort.environment.project().documents()?;
    if let Some(error) = documents.refused() {
        return Err(error);
    }
    let mut problems: Vec<Problem> = Vec::new();
    let mut of_names: BTreeMap<&str, Vec<&BuildDocument>> = BTreeMap::new();
    for build in &documents.builds {
        if problems.len() >= Documents::MOST_PROBLEMS {
            break;
        }
        match build.check_written_out() {
            Ok(()) => of_names.entry(build.name().unwrap_or_default()).or_default().push(build),
            Err(error) => problems.extend(error.problems().iter().cloned()),
        }
    }
    let mut names = Vec::new();
    for (name, named) in of_names {
        effort.check()?;
        if problems.len() >= Documents::MOST_PROBLEMS {
            break;
        }
        let listed = match counted(named, effort)[..] {
            [first, .., last] if !std::ptr::eq(first, last) => Err(declared_twice(first, last, name)),
            [build, ..] if build.product() == Some(Product::Image) => build.is_wanted(effort),
            _ => Ok(false),
        };
        match listed {
            Ok(true) => names.push(name.to_owned()),
            Ok(false) => {}
            Err(error) => problems.extend(error.problems().iter().cloned()),
        }
    }
    if problems.is_empty() { Ok(names) } else { Err(ConfigError::new(problems)) }
}

/// Returns those of the modules and actions of one name that count. Of actions, Garden 0.13 and 0.14 leave out one that is
/// disabled, or of other environments, if there is another of its name.
///
/// Source: Garden, `addRawActionConfig` and `addRawModuleConfig` in `core/src/garden.ts`.
fn counted<'d>(mut named: Vec<&'d BuildDocument>, effort: &Effort<'_, '_>) -> Vec<&'d BuildDocument> {
    if named.len() > 1 {
        // What templates make has names of its own.
        named.retain(|build| build.product() != Some(Product::Documents));
    }
    if named.len() < 2 || named.iter().any(|build| build.generation == BuildGeneration::Module) {
        return named;
    }
    let enabled: Vec<_> = named.iter().copied().filter(|build| !build.is_disabled(effort)).collect();
    if enabled.is_empty() { named[..1].to_vec() } else { enabled }
}

/// States that two have the name `name`.
fn declared_twice(first: &BuildDocument, second: &BuildDocument, name: &str) -> ConfigError {
    let problems = Problems::new(&second.source);
    let place = format!("{}:{}", first.source.file.display(), first.node.position.line);
    let message = format!("there are two modules or actions called `{name}`; the other is at {place}");
    problems.report(second.node.position, message, Some("rename one of the two".to_owned()));
    problems.into_error()
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
        self.generation.what()
    }

    /// What it makes; `None` if Garden does not have its type.
    fn product(&self) -> Option<Product> {
        self.generation.product(self.text("type")?)
    }

    /// Makes sure that name and type are there to be read: whoever passed over one without would give a part for the whole.
    /// Garden wants both written out, too, and a type that it knows.
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
        if problems.count() == 0 && self.product().is_none() {
            self.report_type(&problems);
        }
        problems.into_result(Some(()))
    }

    /// Makes sure that it is a container image that is built.
    pub(crate) fn check_type(&self, problems: &Problems) -> Option<()> {
        if self.product() == Some(Product::Image) {
            return Some(());
        }
        self.report_type(problems);
        None
    }

    /// Reports that its type is none of which an image can be built here.
    fn report_type(&self, problems: &Problems) {
        let node = self.node.as_mapping().and_then(|mapping| mapping.get("type"));
        let what = self.what();
        let Some((node, other)) = node.and_then(|node| Some((node, node.as_text()?))) else {
            let hint = Some("write `type: container`".to_owned());
            problems.report(self.node.position, format!("a {what} needs the field `type`"), hint);
            return;
        };
        let name = self.name().unwrap_or_default();
        let message =
            format!("the {what} `{name}` has the type `{other}`; only `container` can be built here");
        let hint = match self.product() {
            None if !is_template(other) => self.generation.suggest_type(other),
            _ => None,
        };
        problems.report(node.position, message, hint);
    }

    /// States that the image that it makes can be built by Garden only.
    fn foreign_image(&self) -> ConfigError {
        let problems = Problems::new(&self.source);
        let (what, name) = (self.what(), self.name().unwrap_or_default());
        let kind = self.text("type").unwrap_or_default();
        let message =
            format!("the {what} `{name}` makes an image, and those of `type: {kind}` cannot be built here");
        let hint = "build it with Garden, or list only what stands in files (written builds)";
        problems.report(self.node.position, message, Some(hint.to_owned()));
        problems.into_error()
    }

    pub(crate) fn refuse_disabled(&self, fields: &Fields<'_>, problems: &Problems) {
        if fields.flag("disabled") == Some(true) {
            let what = self.what();
            let hint =
                format!("remove `disabled` from the {what}, or select an environment in which it is false");
            problems.report(fields.key_position("disabled"), format!("the {what} is disabled"), Some(hint));
        }
    }

    /// Whether it is built in `environment`: not if it is disabled there, or a module that uses an image as it is. If this
    /// is unknown, it is.
    ///
    /// # Errors
    /// If an operation brings fields that count only where they are written.
    fn is_wanted(&self, effort: &Effort<'_, '_>) -> Result<bool, ConfigError> {
        effort.check()?;
        let (environment, problems) = (effort.environment, Problems::new(&self.source));
        let is_wanted = self.ask(environment, |keys| {
            self.refuse_brought(keys, &problems);
            !self.is_disabled_by(keys, environment) && !self.uses_image(keys)
        });
        problems.into_result(Some(is_wanted))
    }

    /// Whether it is disabled in `environment`, or an action of other environments. If this is unknown, it is not.
    fn is_disabled(&self, effort: &Effort<'_, '_>) -> bool {
        let environment = effort.environment;
        effort.check().is_ok() && self.ask(environment, |keys| self.is_disabled_by(keys, environment))
    }

    /// Asks something with the keys that the document may use. If its own variables cannot be read, none is known.
    fn ask<T>(&self, environment: &Environment<'_>, question: impl FnOnce(&Keys<'_>) -> T) -> T {
        let problems = Problems::new(&self.source);
        let own = self.own_variables(environment, &problems);
        let mut keys = environment.keys(self.this(environment, &own), Some(&own));
        keys.variables.are_unknown = problems.count() > 0;
        question(&keys)
    }

    fn is_disabled_by(&self, keys: &Keys<'_>, environment: &Environment<'_>) -> bool {
        let problems = Problems::new(&self.source);
        let node = self.resolved(&["disabled", "environments"], keys, &problems);
        let Some(fields) = Fields::open(&node, "a build", &problems) else { return false };
        let elsewhere = self.generation == BuildGeneration::Action
            && fields.node("environments").is_some_and(|node| leaves_out(node, environment.name()));
        fields.flag("disabled") == Some(true) || elsewhere
    }

    /// Resolves the fields `names`, with what operations such as `$merge` beside them make of them.
    pub(crate) fn resolved(&self, names: &[&str], keys: &Keys<'_>, problems: &Problems) -> Node {
        let asked = |entry: &&Entry| names.contains(&entry.key.as_str()) || entry.key.starts_with('$');
        let asked = self.entries().iter().filter(asked).cloned().collect();
        let node = Node { position: self.node.position, value: Value::Mapping(Mapping(asked)) };
        resolve::all(&node, keys, problems)
    }

    fn entries(&self) -> &[Entry] {
        self.node.as_mapping().map(|mapping| mapping.0.as_slice()).unwrap_or_default()
    }

    /// Reports fields that an operation such as `$merge` brings, and that are read before operations are resolved.
    pub(crate) fn refuse_brought(&self, keys: &Keys<'_>, problems: &Problems) {
        // What cannot be resolved is reported together with all fields.
        let node = self.resolved(&[], keys, &Problems::new(&self.source));
        let brought = node.as_mapping().map(|mapping| mapping.0.as_slice()).unwrap_or_default().iter();
        for entry in brought.filter(|entry| READ_BEFORE.contains(&entry.key.as_str())) {
            let message = format!("`{}` counts only where it is written in the document itself", entry.key);
            let hint = "write it beside `kind`, not within `$merge` or `$if`".to_owned();
            problems.report(entry.key_position, message, Some(hint));
        }
    }

    /// Whether it is a module that uses an image as it is.
    fn uses_image(&self, keys: &Keys<'_>) -> bool {
        let problems = Problems::new(&self.source);
        let node = self.resolved(&["image", "dockerfile"], keys, &problems);
        let entries = node.as_mapping().map(|mapping| mapping.0.as_slice()).unwrap_or_default();
        // It may bring a `dockerfile`.
        let is_unknown = |entry: &Entry| entry.key.starts_with('$') && entry.value.value == Value::Unresolved;
        let fields = Fields::open(&node, "a build", &problems);
        self.generation == BuildGeneration::Module
            && !entries.iter().any(is_unknown)
            && fields.is_some_and(|fields| module::uses_image(&fields, self.directory()))
    }

    /// Its own variables, with those of its files on top.
    pub(crate) fn own_variables(
        &self,
        environment: &Environment<'_>,
        problems: &Problems,
    ) -> DeclaredVariables {
        match self.generation {
            BuildGeneration::Module => module::own_variables(self, environment, problems),
            BuildGeneration::Action => action::own_variables(self, environment, problems),
        }
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.node.as_mapping()?.get(field)?.as_text()
    }
}

/// The fields that are read before operations are resolved.
const READ_BEFORE: [&str; 6] = ["kind", "name", "type", "variables", "varfile", "varfiles"];

/// Whether a list of `environments` is known not to have this one.
fn leaves_out(environments: &Node, name: &str) -> bool {
    match &environments.value {
        Value::Sequence(items) => items
            .iter()
            .all(|item| item.is_null() || item.as_text().is_some_and(|environment| environment != name)),
        _ => false,
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
