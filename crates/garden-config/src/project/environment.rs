use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value as Json};

use crate::build::documents;
use crate::document::decode::text;
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::document::suggest;
use crate::keys::declared::DeclaredVariables;
use crate::keys::variables::Variables;
use crate::keys::{EnvironmentKeys, Keys};
use crate::keys::{question_marks, reports, resolve};
use crate::project::declaration::{DeclaredEnvironment, ProviderEntry, Wanted, report_unknown};
use crate::project::varfile::{self, Imported};
use crate::project::{Generation, VariableFields};
use crate::provider::names::namespace_issue;
use crate::template::LookedUp;
use crate::{BuildConfig, ConfigError, Notice, Position, Project, ProviderConfig, ProviderKind};

/// One environment of a [`Project`]: it tells what templates stand for, and so what the provider and the
/// builds are.
#[derive(Clone)]
pub struct Environment<'a> {
    project: &'a Project,
    declared: Option<&'a DeclaredEnvironment>,
    name: String,
    namespace: Option<String>,
    /// The variables of the project and of the environment, the lowest first.
    variables: Vec<DeclaredVariables>,
    /// Those that were set from Rust.
    overrides: DeclaredVariables,
    /// What `${imported.…}` stands for.
    imported: Imported,
    /// About the variables.
    notices: Vec<Notice>,
    /// How much has passed through templates, in bytes.
    handled: Arc<AtomicUsize>,
}

/// Without the variables, as some of them are secrets.
impl fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("project", &self.project.name)
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Project {
    /// The keys that are known without an environment.
    pub(crate) fn keys(&self) -> Keys<'_> {
        Keys {
            generation: self.generation,
            locals: &self.locals,
            project: (&self.name, self.shown_path(self.directory())),
            environment: None,
            variables: Variables::default(),
            imported: None,
            this: None,
            published: None,
        }
    }
}

impl<'a> Environment<'a> {
    pub(crate) fn select(project: &'a Project, wanted: &str, problems: &Problems) -> Option<Self> {
        let Some(wanted) = Wanted::parse(wanted) else {
            let hint = "ask for `environment` or `namespace.environment`".to_owned();
            let message = format!("`{wanted}` cannot be the name of an environment");
            problems.report(project.environments_position, message, Some(hint));
            return None;
        };
        let declared = match &project.environments {
            None => None,
            Some(environments) => {
                let found = environments.iter().find(|environment| environment.name == wanted.environment);
                if found.is_none() {
                    report_unknown(wanted.environment, environments, project.environments_position, problems);
                    return None;
                }
                found
            }
        };
        let mut environment = Self {
            project,
            declared,
            name: wanted.environment.to_owned(),
            namespace: wanted.namespace.map(str::to_owned),
            variables: Vec::new(),
            overrides: DeclaredVariables::new(Some(project.overrides.clone()), [], project.generation),
            imported: Imported::default(),
            notices: Vec::new(),
            handled: Arc::default(),
        };
        if let Some(node) = &project.imports {
            environment.imported =
                varfile::imported(node, &project.keys(), &project.variable_files, problems);
        }
        environment.add_variables(&project.variables, "garden.env", problems);
        if project.generation >= Generation::V2 {
            // The environment's variables see what the project's are replaced by.
            environment.variables.push(environment.overrides.clone());
        }
        if let Some(declared) = declared {
            let default_file = format!("garden.{}.env", declared.name);
            environment.add_variables(&declared.variables, &default_file, problems);
        }
        environment.namespace =
            environment.namespace.take().or_else(|| environment.default_namespace(problems));
        environment.notices = problems.take_notices();
        Some(environment)
    }

    /// Returns the environment's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the namespace within the environment, which the cluster's namespace is named after; `None`
    /// if the environment has no default and none was asked for.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Resolves all variables of project and environment: what `${var}` stands for.
    ///
    /// # Errors
    /// If a template in one of them cannot be resolved.
    pub fn variables(&self) -> Result<Map<String, Json>, ConfigError> {
        let keys = self.keys(None, None);
        match keys.variables.ask(&keys, || keys.variables.look_up(&[], keys.variables.all())) {
            Some(Ok(LookedUp::Found(Json::Object(variables)))) => Ok(variables),
            Some(Ok(_)) => Ok(Map::new()),
            failure => {
                let problems = Problems::new(&self.project.source);
                reports::unresolved(&keys, &problems);
                if problems.count() == 0 {
                    let fault = failure.and_then(Result::err).unwrap_or_else(Variables::too_many);
                    problems.report(Position::START, fault.message, fault.hint);
                }
                Err(problems.into_error())
            }
        }
    }

    /// Resolves the `kubernetes` or `local-kubernetes` provider.
    ///
    /// Providers at the top level count if they have no `environments` or name this one;
    /// to them the environment's own are added. Two of one name are merged, the later one winning,
    /// as Garden does. Providers of other names are ignored.
    ///
    /// # Errors
    /// If the two providers both or neither apply to the environment, a template cannot be resolved, or
    /// the provider has unknown or wrong fields. All problems are named.
    pub fn provider(&self) -> Result<ProviderConfig, ConfigError> {
        let problems = Problems::new(&self.project.source);
        let provider = self.merged_provider(&problems).and_then(|(kind, node)| {
            let node = resolve::fields(&node, &ProviderConfig::SET_ASIDE, &self.keys(None, None), &problems);
            let default_namespace = || self.provider_namespace(&problems).unwrap_or_default();
            let Project { name, generation, .. } = self.project;
            ProviderConfig::read(&node, kind, name, *generation, default_namespace, &problems)
        });
        let notices = self.notices.iter().cloned().chain(problems.take_notices()).collect();
        problems.into_result(provider.map(|provider| ProviderConfig { notices, ..provider }))
    }

    /// Reads how the module or action `name`, of a file in the project's directory, is built.
    ///
    /// The files are those called `garden.yml` or `something.garden.yml`, or the same with the ending `.yaml`, that
    /// the project's field `scan` and its ignore files leave.
    ///
    /// # Errors
    /// If there is none or more than one of that name, it is not a container's, a template cannot be
    /// resolved, or it has unknown or wrong fields or asks for what cannot be done here. All problems are
    /// named.
    pub fn build(&self, name: &str) -> Result<BuildConfig, ConfigError> {
        BuildConfig::of_document(documents::find(self, name)?, self)
    }

    /// Returns the names of all container modules and Build actions in the project's directory that are built in this
    /// environment, sorted: without those that are disabled or only for other environments, and without modules that use an
    /// image as it is.
    ///
    /// # Errors
    /// If Garden refuses a document of the project: a file cannot be read or is not YAML, a `kind` or `type` is not one of
    /// Garden's, two have the same name. Or if the list would not be whole, since a template that is rendered
    /// (`RenderTemplate`, a module of `type: templated`) may make images to build, the project has `sources`, or a type makes
    /// images that only Garden can build (`jib-container`). [`Environment::written_builds`] lists the rest. All problems are
    /// named.
    pub fn builds(&self) -> Result<Vec<String>, ConfigError> {
        documents::names(self)
    }

    /// Returns the names of the container images that are written out in files, without those that templates, sources and other
    /// types would add. There may be none.
    ///
    /// # Errors
    /// If Garden refuses a document of the project.
    pub fn written_builds(&self) -> Result<Vec<String>, ConfigError> {
        documents::written_names(self)
    }

    /// Returns what the author of the project should know: about its variables, and which documents and files are passed over
    /// as Garden passes over them with a warning.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn notices(&self) -> Result<Vec<Notice>, ConfigError> {
        let passed_over = &self.project.documents()?.notices;
        Ok(self.notices.iter().chain(passed_over).cloned().collect())
    }

    /// The project.
    pub(crate) fn project(&self) -> &'a Project {
        self.project
    }

    /// How much has passed through templates so far, in bytes.
    pub(crate) fn handled(&self) -> usize {
        self.handled.load(Ordering::Relaxed)
    }

    /// What the author of the project should know about its variables.
    pub(crate) fn notices_of_variables(&self) -> &[Notice] {
        &self.notices
    }

    /// What templates stand for, in this environment; within the module or action `this`, with its own
    /// variables on top.
    pub(crate) fn keys<'k>(
        &'k self,
        this: Option<Map<String, Json>>,
        own: Option<&'k DeclaredVariables>,
    ) -> Keys<'k> {
        // Its own variables see what the environment's are replaced by.
        let own = own.into_iter().flat_map(|own| [&self.overrides, own]);
        let variables = self.variables.iter().chain(own).chain([&self.overrides]);
        Keys {
            environment: Some(EnvironmentKeys { name: &self.name, namespace: self.namespace.as_deref() }),
            variables: Variables::new(variables).counted_in(&self.handled),
            imported: Some(&self.imported),
            this,
            ..self.project.keys()
        }
    }

    /// Adds variables: those that stand in the file, and above them those of its `varfile`.
    fn add_variables(&mut self, fields: &VariableFields, default_file: &str, problems: &Problems) {
        let mut own = fields.variables.clone();
        if let Some(node) = own.take_if(|node| node.as_mapping().is_none()) {
            let message = format!("`variables` must be a mapping, not {}", node.kind());
            problems.report(node.position, message, None);
        }
        let keys = self.keys(None, None);
        if let Some(own) = &own {
            question_marks::notice(own, "variables", &keys, problems);
        }
        let file = varfile::of_fields(fields, default_file, &keys, &self.project.variable_files, problems);
        self.variables.push(DeclaredVariables::new(own, file, self.project.generation));
    }

    /// The namespace that the environment stands for unless another is asked for.
    fn default_namespace(&self, problems: &Problems) -> Option<String> {
        let Some(node) = self.declared.and_then(|declared| declared.default_namespace.as_ref()) else {
            return Some("default".to_owned());
        };
        let node = resolve::all(node, &self.keys(None, None), problems);
        if node.is_null() {
            return None;
        }
        text(&node, "`defaultNamespace`", problems).map(str::to_owned)
    }

    /// Finds the one provider that applies, merged from all its parts.
    fn merged_provider(&self, problems: &Problems) -> Option<(ProviderKind, Node)> {
        let applies = |entry: &&ProviderEntry| {
            let environments = entry.environments(problems);
            environments.is_none_or(|names| names.contains(&self.name))
        };
        let applying: Vec<&ProviderEntry> =
            self.project.providers.iter().filter(applies).chain(self.own_providers()).collect();
        let merged = |kind: ProviderKind| {
            let mut parts = applying.iter().filter(|entry| entry.name == kind.as_str());
            let mut node = parts.next()?.node.clone();
            node.merge_all(&parts.map(|part| &part.node).collect::<Vec<_>>());
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
                    self.name,
                    places.join(", ")
                );
                let hint = "limit each to its environments with the field `environments`".to_owned();
                problems.report(self.project.providers_position, message, Some(hint));
                None
            }
            (None, None) => {
                self.report_no_provider(problems);
                None
            }
        }
    }

    fn own_providers(&self) -> &'a [ProviderEntry] {
        self.declared.map(|declared| declared.providers.as_slice()).unwrap_or_default()
    }

    fn report_no_provider(&self, problems: &Problems) {
        let all: Vec<&ProviderEntry> = self.project.providers.iter().chain(self.own_providers()).collect();
        let places = all.iter().map(|entry| match entry.environments(problems) {
            Some(names) => format!("{} for {}", entry.place(), names.join(", ")),
            None => entry.place(),
        });
        let places: Vec<String> = places.collect();
        let found = if places.is_empty() { "nothing".to_owned() } else { places.join(", ") };
        let message = format!("the environment `{}` has no `kubernetes` provider; found {found}", self.name);
        let misspelled = all.iter().find_map(|entry| {
            let meant = suggest::closest(&entry.name, &["kubernetes", "local-kubernetes"])?;
            (meant != entry.name)
                .then(|| format!("did you mean `{meant}` on line {}?", entry.node.position.line))
        });
        let hint = misspelled.unwrap_or_else(|| "add `- name: kubernetes` to `providers`".to_owned());
        problems.report(self.project.providers_position, message, Some(hint));
    }

    /// Derives the cluster's namespace that a provider gets if it sets none.
    fn provider_namespace(&self, problems: &Problems) -> Option<String> {
        let Some(namespace) = &self.namespace else {
            let node = self.declared.and_then(|declared| declared.default_namespace.as_ref());
            let position = node.map_or(self.project.environments_position, |node| node.position);
            let message = format!("the environment `{}` has no default namespace", self.name);
            let hint = format!("ask for `my-namespace.{}`, or set `namespace` on the provider", self.name);
            problems.report(position, message, Some(hint));
            return None;
        };
        let name = format!("{}-{namespace}", self.project.name);
        if let Some(issue) = namespace_issue("name", &name) {
            let message = format!("the namespace made of project and environment: {}", issue.message);
            let hint = "set `namespace` on the provider, or rename the project".to_owned();
            problems.report(self.project.name_position, message, Some(hint));
            return None;
        }
        Some(name)
    }
}
