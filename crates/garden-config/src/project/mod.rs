//! The project file, and the files beside it.

pub(crate) mod declaration;
mod dotenv;
pub(crate) mod environment;
pub(crate) mod files;
mod links;
pub(crate) mod open;
pub(crate) mod shown_path;
pub(crate) mod varfile;
pub(crate) mod variable_files;

pub(crate) use crate::generation::Generation;
pub(crate) use open::{documents, kind};
pub use open::{load, parse};

use std::fmt;
use std::path::Path;

use serde_json::Value as Json;

use crate::build::reading::{Documents, ReadOnce};
use crate::document::decode::{Fields, refuse_template, report_duplicate_keys, text};
use crate::document::node::{Entry, Mapping, Node, Value};
use crate::document::problems::{Problems, Source};
use crate::document::write;
use crate::project::declaration::{DeclaredEnvironment, ProviderEntry};
use crate::project::environment::Environment;
use crate::project::files::ScanSettings;
use crate::project::variable_files::VariableFiles;
use crate::{BuildConfig, ConfigError, Locals, Position, ProviderConfig};

/// A project file: the document with `kind: Project`; and the modules and actions in its directory.
///
/// The files of modules and actions are found and read once, when the first is asked for; what is written into them later
/// does not count for this project and its clones. The same is true of files of variables (but for what exceeds 16 MiB of them).
/// [`load`] the project again to have all read anew.
///
/// What it says of one environment is read when [`Project::environment`] asks for it, so that a mistake
/// in another environment does not stand in the way.
#[derive(Clone, PartialEq)]
pub struct Project {
    pub(crate) source: Source,
    /// The documents of the project's file, itself among them.
    own: Vec<Node>,
    documents: ReadOnce,
    pub(crate) variable_files: VariableFiles,
    pub(crate) name: String,
    pub(crate) name_position: Position,
    pub(crate) generation: Generation,
    /// Where to point at when something is missing: the field `environments`, `providers` or the document.
    pub(crate) environments_position: Position,
    pub(crate) providers_position: Position,
    /// `None` where the file does not declare any, so that every name is good.
    pub(crate) environments: Option<Vec<DeclaredEnvironment>>,
    pub(crate) providers: Vec<ProviderEntry>,
    default_environment: Option<Node>,
    pub(crate) variables: VariableFields,
    /// The field `importVariables`.
    pub(crate) imports: Option<Node>,
    pub(crate) scan: ScanSettings,
    /// Where the field `sources` stands, if it names any.
    pub(crate) sources_position: Option<Position>,
    pub(crate) locals: Locals,
    /// The variables that were set from Rust: a mapping.
    pub(crate) overrides: Node,
}

/// Without the variables, as some of them are secrets.
impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project")
            .field("file", &self.source.file)
            .field("name", &self.name)
            .field("environments", &self.environments().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Where a project or an environment gets variables from; read when its environment is asked for.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct VariableFields {
    pub(crate) variables: Option<Node>,
    pub(crate) varfile: Option<Node>,
}

impl Project {
    /// Returns the project's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the directory of the project file, relative to which its paths are.
    pub fn directory(&self) -> &Path {
        self.source.directory()
    }

    /// Returns the names of the environments that the file declares, in its order. If there are
    /// none, [`Project::environment`] takes any name.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.iter().flatten().map(|environment| environment.name.as_str())
    }

    /// Lets `${local.…}` and `${git.…}` stand for something else than this machine.
    #[must_use]
    pub fn with_locals(mut self, locals: Locals) -> Self {
        self.locals = locals;
        self
    }

    /// Confines the project, for a program that only wants to look at projects of people whom it does not trust:
    ///
    /// * Templates learn nothing of this machine ([`Locals::none`]); [`Project::with_locals`] may add what they may see.
    /// * No path in the project's files leads out of the project's directory, neither by its text nor by links: files of
    ///   variables, `source.path`, `caCertificate`, `kubeconfig`, and ignore files, and files of modules and actions, that are links.
    /// * Connecting runs no program and reads no file for the project ([`ProviderConfig::confined`]).
    ///
    /// What is read and run without it stands at the [crate](crate#what-is-read-and-run).
    #[must_use]
    pub fn confined(mut self) -> Self {
        self.locals = Locals::none();
        self.source.confine();
        // Those that were read may lead anywhere.
        self.documents = ReadOnce::default();
        self.variable_files = VariableFiles::default();
        self
    }

    /// Sets `${var.NAME}`, whatever the project and its environments set it to. A dot in `name` leads
    /// into a mapping: `image.tag`.
    ///
    /// The texts in `value` stand for themselves: `${…}` in them is not resolved. So `value` may come from somebody who must not learn what
    /// templates can tell, such as the name of a branch.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: impl Into<Json>) -> Self {
        let mut parts = name.rsplit('.');
        let last = parts.next().unwrap_or(name);
        let value = Node::from_json(write::literal(value.into()), Position::START);
        let nested = parts.fold(single(last, value), |inner, key| single(key, inner));
        self.overrides.merge(&nested);
        self
    }

    /// Selects the environment `name`, which may be written `namespace.environment` to replace the
    /// environment's default namespace.
    ///
    /// # Errors
    /// If the file does not declare the environment, or its variables cannot be read. All problems are
    /// named.
    pub fn environment(&self, name: &str) -> Result<Environment<'_>, ConfigError> {
        let problems = Problems::new(&self.source);
        let environment = Environment::select(self, name, &problems);
        problems.into_result(environment)
    }

    /// Selects the environment that `defaultEnvironment` names, else the first that is declared.
    ///
    /// # Errors
    /// If there is none, or as [`Project::environment`].
    pub fn default_environment(&self) -> Result<Environment<'_>, ConfigError> {
        let problems = Problems::new(&self.source);
        let environment =
            self.default_name(&problems).and_then(|name| Environment::select(self, &name, &problems));
        problems.into_result(environment)
    }

    /// Resolves the provider of an environment: short for [`Project::environment`] and
    /// [`Environment::provider`].
    ///
    /// # Errors
    /// As the two.
    pub fn provider(&self, environment: &str) -> Result<ProviderConfig, ConfigError> {
        self.environment(environment)?.provider()
    }

    /// Reads how the module or action `name` is built in the default environment: short for
    /// [`Project::default_environment`] and [`Environment::build`].
    ///
    /// # Errors
    /// As the two.
    pub fn build(&self, name: &str) -> Result<BuildConfig, ConfigError> {
        self.default_environment()?.build(name)
    }

    /// Returns the documents of the project's files, which are read the first time.
    pub(crate) fn documents(&self) -> Result<&Documents, ConfigError> {
        self.documents.get(|| Documents::read(self, &self.own))
    }

    /// Reads the project among the `documents` of its file.
    pub(crate) fn of_documents(documents: Vec<Node>, problems: &Problems) -> Option<Self> {
        let project = open::find_project(&documents, problems).and_then(|node| Self::read(node, problems))?;
        Some(Self { own: documents, ..project })
    }

    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        report_duplicate_keys(node, problems);
        let fields = Fields::open(node, "a project", problems)?;
        fields.set_aside(&SET_ASIDE);
        if let Some(name) = fields.node("name") {
            refuse_template(name, "`name`", problems);
        }
        let environments = fields.node("environments");
        let providers = fields.node("providers");
        let generation = fields.choice("apiVersion", &API_VERSIONS).unwrap_or_default();
        let project = Self {
            source: problems.source().clone(),
            own: Vec::new(),
            documents: ReadOnce::default(),
            variable_files: VariableFiles::default(),
            name: fields.required_text("name").unwrap_or_default().to_owned(),
            name_position: fields.raw("name").map_or(node.position, |node| node.position),
            generation,
            environments_position: fields.key_position("environments"),
            providers_position: fields.key_position("providers"),
            environments: environments.map(|node| DeclaredEnvironment::read_all(node, problems)),
            providers: ProviderEntry::read_all(providers, problems),
            default_environment: fields.node("defaultEnvironment").cloned(),
            variables: VariableFields::read(&fields),
            imports: fields.node("importVariables").cloned(),
            scan: ScanSettings::read(&fields, problems),
            sources_position: (!fields.list("sources").is_empty()).then(|| fields.key_position("sources")),
            locals: Locals::of_this_machine(),
            overrides: Node { position: Position::START, value: Value::Mapping(Mapping::default()) },
        };
        fields.finish();
        Some(project)
    }

    fn default_name(&self, problems: &Problems) -> Option<String> {
        if let Some(node) = &self.default_environment {
            let keys = self.keys();
            let node = crate::keys::resolve::all(node, &keys, problems);
            let name = text(&node, "`defaultEnvironment`", problems)?;
            if !name.is_empty() {
                return Some(name.to_owned());
            }
        }
        let first = self.environments().next().map(str::to_owned);
        if first.is_none() {
            let hint = "name one with `defaultEnvironment`".to_owned();
            problems.report(self.environments_position, "the project has no environment", Some(hint));
        }
        first
    }
}

impl VariableFields {
    pub(crate) fn read(fields: &Fields<'_>) -> Self {
        Self { variables: fields.node("variables").cloned(), varfile: fields.node("varfile").cloned() }
    }
}

/// A mapping of one key.
fn single(key: &str, value: Node) -> Node {
    let entry = Entry { key: key.to_owned(), key_position: Position::START, value };
    Node { position: Position::START, value: Value::Mapping(Mapping(vec![entry])) }
}

/// The versions that Garden 0.12 to 0.14 know.
const API_VERSIONS: [(&str, Generation); 3] =
    [("garden.io/v0", Generation::V0), ("garden.io/v1", Generation::V1), ("garden.io/v2", Generation::V2)];

/// Fields of a project that do not concern building.
pub(crate) const SET_ASIDE: [&str; 10] = [
    "disableCloudLogs",
    "domain",
    "environmentDefaults",
    "excludeValuesFromActionVersions",
    "id",
    "kind",
    "organizationId",
    "outputs",
    "proxy",
    "sources",
];
