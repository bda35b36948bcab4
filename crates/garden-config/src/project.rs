use std::path::{Path, PathBuf};

use crate::decode::{Fields, report_duplicate_keys};
use crate::environment::{Environment, ProviderEntry, Wanted, report_unknown};
use crate::names::namespace_issue;
use crate::node::Node;
use crate::problem::Problems;
use crate::{ConfigError, Position, ProviderConfig, ProviderKind, ellipsis, suggest, yaml};

/// The names that a project file may have in its directory, best first.
const FILE_NAMES: [&str; 4] = ["project.garden.yml", "project.garden.yaml", "garden.yml", "garden.yaml"];

/// A project file: the document with `kind: Project`.
///
/// What it says of one environment is read when [`Project::provider`] asks for it, so that a mistake
/// in another environment does not stand in the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    file: PathBuf,
    name: String,
    name_position: Position,
    /// Where to point at when something is missing: the field `environments`, `providers` or the document.
    environments_position: Position,
    providers_position: Position,
    /// `None` where the file does not declare any, so that every name is good.
    environments: Option<Vec<Environment>>,
    providers: Vec<ProviderEntry>,
}

/// Loads the project file at `path`, or in the directory `path`: `project.garden.yml` or `garden.yml`,
/// both also with the ending `.yaml`.
///
/// # Errors
/// If there is no such file, it cannot be read, or [`parse`] refuses its text.
pub fn load(path: impl AsRef<Path>) -> Result<Project, ConfigError> {
    let path = path.as_ref();
    let file = if path.is_dir() {
        let mut candidates = FILE_NAMES.iter().map(|name| path.join(name));
        candidates.find(|file| file.is_file()).ok_or_else(|| {
            let hint = format!("a project file is called {}", suggest::quoted(&FILE_NAMES));
            ConfigError::whole_file(path, "the directory holds no project file", hint)
        })?
    } else {
        path.to_owned()
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        let hint = "give the path of a project file, or of the directory that holds it";
        ConfigError::whole_file(&file, format!("the project file cannot be read: {error}"), hint)
    })?;
    parse(&text, &file)
}

/// Reads a project from `text`, which stands in `file`: messages name the file, and relative paths in
/// the text start at its directory. The file itself is not looked at.
///
/// Documents of other kinds in the same text are ignored. A line with nothing but `...`, with which
/// the guide's examples leave things out, is ignored as well.
///
/// # Errors
/// If the text is not YAML, has not exactly one document with `kind: Project`, or that document has
/// unknown or wrong fields. All problems are named.
pub fn parse(text: &str, file: impl AsRef<Path>) -> Result<Project, ConfigError> {
    let problems = Problems::new(file.as_ref());
    let documents = match yaml::parse_documents(&ellipsis::blank_ellipses(text)) {
        Ok(documents) => documents,
        Err(error) => {
            let position = error.position.unwrap_or(Position { line: 1, column: 1 });
            problems.report(position, format!("this is not valid YAML: {}", error.message), None);
            Vec::new()
        }
    };
    let project = if problems.count() == 0 { find_project(&documents, &problems) } else { None };
    let project = project.and_then(|node| Project::read(node, file.as_ref(), &problems));
    problems.into_result(project)
}

/// Finds the one document with `kind: Project`.
fn find_project<'a>(documents: &'a [Node], problems: &Problems) -> Option<&'a Node> {
    let kind = |document: &Node| {
        document
            .as_mapping()
            .and_then(|mapping| mapping.get("kind"))
            .and_then(Node::as_text)
            .map(str::to_owned)
    };
    let mut projects = documents.iter().filter(|document| kind(document).as_deref() == Some("Project"));
    let first = projects.next();
    let Some(first) = first else {
        let kinds: Vec<String> = documents.iter().filter_map(kind).collect();
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        let found =
            if kinds.is_empty() { String::new() } else { format!(", only {}", suggest::quoted(&kinds)) };
        let position =
            documents.first().map_or(Position { line: 1, column: 1 }, |document| document.position);
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

impl Project {
    /// Returns the project's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names of the environments that the file declares, in its order. If there are
    /// none, [`Project::provider`] takes any name.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.iter().flatten().map(|environment| environment.name.as_str())
    }

    /// Resolves the `kubernetes` or `local-kubernetes` provider for `environment`, which may be
    /// written `namespace.environment` to replace the environment's default namespace.
    ///
    /// Of the providers at the top level, those count that have no `environments` or name this one;
    /// to them the environment's own are added. Two of one name are merged, the later one winning,
    /// as Garden does. Providers of other names are ignored.
    ///
    /// # Errors
    /// If the file does not declare the environment, the two providers both or neither apply to it,
    /// or the provider has unknown or wrong fields. All problems are named.
    pub fn provider(&self, environment: &str) -> Result<ProviderConfig, ConfigError> {
        let problems = Problems::new(&self.file);
        let provider = self.resolve(environment, &problems);
        problems.into_result(provider)
    }

    fn read(node: &Node, file: &Path, problems: &Problems) -> Option<Self> {
        report_duplicate_keys(node, problems);
        let fields = Fields::open(node, "a project", problems)?;
        fields.set_aside(&SET_ASIDE);
        let environments = fields.node("environments");
        let providers = fields.node("providers");
        let entry = |name| node.as_mapping().and_then(|mapping| mapping.entry(name));
        let key_position = |name| entry(name).map_or(node.position, |entry| entry.key_position);
        let project = Self {
            file: file.to_owned(),
            name: fields.required_text("name").unwrap_or_default().to_owned(),
            name_position: fields.raw("name").map_or(node.position, |node| node.position),
            environments_position: key_position("environments"),
            providers_position: key_position("providers"),
            environments: environments.map(|node| Environment::read_all(node, problems)),
            providers: ProviderEntry::read_all(providers, problems),
        };
        fields.finish();
        Some(project)
    }

    fn resolve(&self, wanted: &str, problems: &Problems) -> Option<ProviderConfig> {
        let Some(wanted) = Wanted::parse(wanted) else {
            let hint = "ask for `environment` or `namespace.environment`".to_owned();
            let message = format!("`{wanted}` cannot be the name of an environment");
            problems.report(self.environments_position, message, Some(hint));
            return None;
        };
        let declared = match &self.environments {
            None => None,
            Some(environments) => {
                let found = environments.iter().find(|environment| environment.name == wanted.environment);
                if found.is_none() {
                    report_unknown(wanted.environment, environments, self.environments_position, problems);
                    return None;
                }
                found
            }
        };
        let (kind, node) = self.merged_provider(wanted, declared, problems)?;
        let directory = self.file.parent().unwrap_or(Path::new(""));
        let default_namespace = || self.default_namespace(wanted, declared, problems).unwrap_or_default();
        ProviderConfig::read(&node, kind, directory, default_namespace, problems)
    }

    /// Finds the one provider that applies, merged from all its parts.
    fn merged_provider(
        &self,
        wanted: Wanted<'_>,
        declared: Option<&Environment>,
        problems: &Problems,
    ) -> Option<(ProviderKind, Node)> {
        let applies = |entry: &&ProviderEntry| {
            let environments = entry.environments(problems);
            environments.is_none_or(|names| names.iter().any(|name| name == wanted.environment))
        };
        let own = declared.map(|environment| environment.providers.as_slice()).unwrap_or_default();
        let applying: Vec<&ProviderEntry> = self.providers.iter().filter(applies).chain(own).collect();
        let merged = |kind: ProviderKind| {
            let mut parts = applying.iter().filter(|entry| entry.name == kind.as_str());
            let mut node = parts.next()?.node.clone();
            parts.for_each(|part| node.merge(&part.node));
            Some((kind, node))
        };
        match (merged(ProviderKind::Kubernetes), merged(ProviderKind::LocalKubernetes)) {
            (Some(provider), None) | (None, Some(provider)) => Some(provider),
            (Some(_), Some(_)) => {
                let kinds =
                    [ProviderKind::Kubernetes, ProviderKind::LocalKubernetes].map(ProviderKind::as_str);
                let both = applying.iter().filter(|entry| kinds.contains(&entry.name.as_str()));
                let places: Vec<String> = both.map(|entry| entry.place()).collect();
                let message = format!(
                    "the environment `{}` has two providers to build with: {}",
                    wanted.environment,
                    places.join(", ")
                );
                let hint = "limit each to its environments with the field `environments`".to_owned();
                problems.report(self.providers_position, message, Some(hint));
                None
            }
            (None, None) => {
                self.report_no_provider(wanted.environment, declared, problems);
                None
            }
        }
    }

    fn report_no_provider(&self, environment: &str, declared: Option<&Environment>, problems: &Problems) {
        let own = declared.map(|environment| environment.providers.as_slice()).unwrap_or_default();
        let all: Vec<&ProviderEntry> = self.providers.iter().chain(own).collect();
        let places = all.iter().map(|entry| match entry.environments(problems) {
            Some(names) => format!("{} for {}", entry.place(), names.join(", ")),
            None => entry.place(),
        });
        let places: Vec<String> = places.collect();
        let found = if places.is_empty() { "nothing".to_owned() } else { places.join(", ") };
        let message = format!("the environment `{environment}` has no `kubernetes` provider; found {found}");
        let misspelled = all.iter().find_map(|entry| {
            let meant = suggest::closest(&entry.name, &["kubernetes", "local-kubernetes"])?;
            (meant != entry.name)
                .then(|| format!("did you mean `{meant}` on line {}?", entry.node.position.line))
        });
        let hint = misspelled.unwrap_or_else(|| "add `- name: kubernetes` to `providers`".to_owned());
        problems.report(self.providers_position, message, Some(hint));
    }

    /// Derives the namespace that a provider gets if it sets none.
    fn default_namespace(
        &self,
        wanted: Wanted<'_>,
        declared: Option<&Environment>,
        problems: &Problems,
    ) -> Option<String> {
        let namespace = match (wanted.namespace, declared) {
            (Some(namespace), _) => namespace.to_owned(),
            (None, Some(environment)) => environment.default_namespace(problems)?,
            (None, None) => "default".to_owned(),
        };
        let name = format!("{}-{namespace}", self.name);
        if let Some(issue) = namespace_issue("name", &name) {
            let message = format!("the namespace made of project and environment: {}", issue.message);
            let hint = "set `namespace` on the provider, or rename the project".to_owned();
            problems.report(self.name_position, message, Some(hint));
            return None;
        }
        Some(name)
    }
}

/// Fields of a project that do not concern building.
const SET_ASIDE: [&str; 19] = [
    "apiVersion",
    "defaultEnvironment",
    "disableCloudLogs",
    "domain",
    "dotIgnoreFile",
    "dotIgnoreFiles",
    "environmentDefaults",
    "excludeValuesFromActionVersions",
    "id",
    "importVariables",
    "kind",
    "modules",
    "organizationId",
    "outputs",
    "proxy",
    "scan",
    "sources",
    "variables",
    "varfile",
];
