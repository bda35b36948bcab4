//! Environments and providers as a project file declares them; what is in them is read when it is needed.

use std::collections::HashSet;

use crate::Position;
use crate::document::decode::{Fields, items, refuse_template, text};
use crate::document::node::Node;
use crate::document::placeholder::is_template;
use crate::document::problems::Problems;
use crate::document::suggest;
use crate::project::VariableFields;

/// An environment as a project file declares it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeclaredEnvironment {
    pub(crate) name: String,
    pub(crate) position: Position,
    /// Read when it is needed, which it often is not.
    pub(crate) default_namespace: Option<Node>,
    pub(crate) variables: VariableFields,
    pub(crate) providers: Vec<ProviderEntry>,
}

/// A provider, or a part of one, as a project file lists it; read when its environment is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProviderEntry {
    pub(crate) name: String,
    pub(crate) node: Node,
}

/// What `provider("…")` is asked for: `environment`, or `namespace.environment`.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) environment: &'a str,
    pub(crate) namespace: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let wanted = match text.split_once('.') {
            None => Self { environment: text, namespace: None },
            Some((namespace, environment)) => Self { environment, namespace: Some(namespace) },
        };
        (is_name(wanted.environment) && wanted.namespace.is_none_or(is_name)).then_some(wanted)
    }
}

/// Whether an environment, or a namespace in one, can be asked for by that name: a dot separates the two.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('.')
}

/// Reports the name of an environment that nobody could ask for.
fn check_name(node: &Node, problems: &Problems) {
    refuse_template(node, "the name of an environment", problems);
    if let Some(name) = node.as_text().filter(|name| !is_name(name) && !is_template(name)) {
        let message = format!("`{name}` cannot be the name of an environment");
        let hint =
            "give it a name without dots: in `namespace.environment`, a dot separates the two".to_owned();
        problems.report(node.position, message, Some(hint));
    }
}

impl DeclaredEnvironment {
    /// Reads the field `environments`: names, or mappings with a name.
    pub(crate) fn read_all(node: &Node, problems: &Problems) -> Vec<Self> {
        let items = items(node, "`environments`", problems).into_iter();
        let mut environments: Vec<Self> = Vec::new();
        let mut names = HashSet::new();
        for environment in items.filter_map(|item| Self::read(item, problems)) {
            if !names.insert(environment.name.clone()) {
                let message = format!("the environment `{}` is declared twice", environment.name);
                problems.report(environment.position, message, Some("keep one of the two".to_owned()));
            }
            environments.push(environment);
        }
        environments
    }

    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let position = node.position;
        if node.as_mapping().is_none() {
            let name = text(node, "each of `environments`", problems)?.to_owned();
            check_name(node, problems);
            let variables = VariableFields::default();
            return Some(Self { name, position, default_namespace: None, variables, providers: Vec::new() });
        }
        let fields = Fields::open(node, "an environment", problems)?;
        fields.set_aside(&SET_ASIDE);
        if let Some(name) = fields.node("name") {
            check_name(name, problems);
        }
        let name = fields.required_text("name").map(str::to_owned);
        let default_namespace = fields.raw("defaultNamespace").cloned();
        let providers = ProviderEntry::read_all(fields.node("providers"), problems);
        let variables = VariableFields::read(&fields);
        fields.finish();
        Some(Self { name: name?, position, default_namespace, variables, providers })
    }
}

impl ProviderEntry {
    /// Reads the names of the providers in a list.
    pub(crate) fn read_all(node: Option<&Node>, problems: &Problems) -> Vec<Self> {
        let items = node.map(|node| items(node, "`providers`", problems)).unwrap_or_default();
        items.into_iter().filter_map(|item| Self::read(item, problems)).collect()
    }

    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let fields = Fields::open(node, "a provider", problems)?;
        if let Some(name) = fields.node("name") {
            refuse_template(name, "the name of a provider", problems);
        }
        let name = fields.required_text("name")?.to_owned();
        Some(Self { name, node: node.clone() })
    }

    /// Returns the environments that the provider is for; `None` for all.
    pub(crate) fn environments(&self, problems: &Problems) -> Option<Vec<String>> {
        let fields = Fields::open(&self.node, "a provider", problems)?;
        fields.node("environments").map(|_| fields.texts("environments"))
    }

    /// Describes where the provider stands: `` `kubernetes` (line 8) ``.
    pub(crate) fn place(&self) -> String {
        format!("`{}` (line {})", self.name, self.node.position.line)
    }
}

/// Reports that `wanted` is not among `environments`.
pub(crate) fn report_unknown(
    wanted: &str,
    environments: &[DeclaredEnvironment],
    at: Position,
    problems: &Problems,
) {
    let names: Vec<&str> = environments.iter().map(|environment| environment.name.as_str()).collect();
    let listed = if names.is_empty() { "none".to_owned() } else { suggest::quoted(&names) };
    let message = format!("the project has no environment `{wanted}`; it has {listed}");
    problems.report(
        at,
        message,
        suggest::closest(wanted, &names).map(|name| format!("did you mean `{name}`?")),
    );
}

/// Fields of an environment that do not concern building.
pub(crate) const SET_ASIDE: [&str; 2] = ["aec", "production"];
