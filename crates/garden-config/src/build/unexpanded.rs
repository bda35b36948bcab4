//! What may make modules and actions, and is not expanded here: templates and sources.

use std::collections::HashMap;

use crate::document::node::{Mapping, Node, Value};
use crate::document::placeholder::is_template;
use crate::document::problems::{Problems, Source};
use crate::project::kind;
use crate::{ConfigError, Position, Project};

/// The documents of a project that make modules and actions of a template.
#[derive(Debug, Default)]
pub(crate) struct Unexpanded(Vec<Maker>);

#[derive(Debug)]
struct Maker {
    source: Source,
    position: Position,
    /// What it is, as messages say it.
    what: String,
    /// The name of the template, if it is known.
    template: Option<String>,
}

/// By name, whether something in the template may be a container image that is built.
#[derive(Debug, Default)]
pub(crate) struct Templates(HashMap<String, bool>);

impl Templates {
    /// Adds the `document` if it is a template.
    pub(crate) fn add(&mut self, document: &Node) {
        if !matches!(kind(document), Some("ConfigTemplate" | "ModuleTemplate")) {
            return;
        }
        let Some(template) = document.as_mapping() else { return };
        if let Some(name) = text(template, "name") {
            let builds = may_build(template, "configs") || may_build(template, "modules");
            self.0.insert(name.to_owned(), builds);
        }
    }
}

impl Unexpanded {
    /// Adds the `document` if it is to be rendered from a template.
    pub(crate) fn add(&mut self, source: &Source, document: &Node) {
        let Some(mapping) = document.as_mapping() else { return };
        let what = match (kind(document), text(mapping, "type")) {
            (Some("RenderTemplate"), _) => "`kind: RenderTemplate`",
            (Some("Module"), Some("templated")) => "module of `type: templated`",
            _ => return,
        };
        if mapping.get("disabled").is_some_and(|node| node.value == Value::Bool(true)) {
            return;
        }
        let name = text(mapping, "name").map(|name| format!(" `{name}`")).unwrap_or_default();
        self.0.push(Maker {
            source: source.clone(),
            position: document.position,
            what: format!("the {what}{name}"),
            template: text(mapping, "template").map(str::to_owned),
        });
    }

    /// Drops those whose templates hold no image that is built, such as templates of `Deploy`s.
    pub(crate) fn retain_builders(&mut self, templates: &Templates) {
        self.0.retain(|maker| {
            maker
                .template
                .as_ref()
                .and_then(|template| templates.0.get(template))
                .is_none_or(|builds| *builds)
        });
    }

    /// Says that a list of what is built would not be whole, unless there is nothing that is not expanded.
    pub(crate) fn error(&self, project: &Project) -> Option<ConfigError> {
        let problem = |source: &Source, position: Position, message: String| {
            let problems = Problems::new(source);
            let hint =
                "expand them with Garden, or list what stands in files with `Environment::written_builds`";
            problems.report(position, message, Some(hint.to_owned()));
            problems.into_error().problems().to_vec()
        };
        let makers = self.0.iter().flat_map(|Maker { source, position, what, .. }| {
            problem(
                source,
                *position,
                format!("{what} may make images to build, and templates are not expanded here"),
            )
        });
        let sources = project.sources_position.into_iter().flat_map(|position| {
            let message = "`sources` may hold images to build, and repositories are not fetched here";
            problem(&project.source, position, message.to_owned())
        });
        let all: Vec<_> = sources.chain(makers).collect();
        (!all.is_empty()).then(|| ConfigError::new(all))
    }

    /// Names what a module or action may come from that stands in no file.
    pub(crate) fn origins(&self, project: &Project) -> Option<String> {
        const TOLD: usize = 3;
        let place =
            |source: &Source, position: Position| format!("{}:{}", source.file.display(), position.line);
        let sources = project.sources_position;
        let sources =
            sources.map(|position| format!("the field `sources` ({})", place(&project.source, position)));
        let makers =
            self.0.iter().map(|maker| format!("{} ({})", maker.what, place(&maker.source, maker.position)));
        let mut all: Vec<String> = sources.into_iter().chain(makers).collect();
        if all.len() > TOLD {
            let more = all.len() - TOLD;
            all.truncate(TOLD);
            all.push(format!("{more} more"));
        }
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// Whether a list of a template may hold a container module or Build action.
fn may_build(template: &Mapping, list: &str) -> bool {
    let may_be = |item: &Mapping, field: &str, value: &str| {
        item.get(field)
            .is_none_or(|node| node.as_text().is_none_or(|text| text == value || is_template(text)))
    };
    let is_build = |item: &Node| {
        item.as_mapping().is_none_or(|item| {
            let is_of_kind =
                list == "modules" || may_be(item, "kind", "Build") || may_be(item, "kind", "Module");
            is_of_kind && may_be(item, "type", "container")
        })
    };
    match template.get(list).map(|node| &node.value) {
        None | Some(Value::Null) => false,
        Some(Value::Sequence(items)) => items.iter().any(is_build),
        Some(_) => true,
    }
}

fn text<'a>(mapping: &'a Mapping, field: &str) -> Option<&'a str> {
    mapping.get(field)?.as_text()
}
