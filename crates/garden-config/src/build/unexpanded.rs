//! What may make modules and actions, and is not expanded here: templates and sources.

use std::collections::HashMap;

use crate::build::kinds::{BuildGeneration, Product};
use crate::build::reading::Documents;
use crate::document::node::{Mapping, Node, Value};
use crate::document::placeholder::is_template;
use crate::document::problems::{Problems, Source};
use crate::keys::resolve;
use crate::project::kind;
use crate::{Position, Problem, Project};

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

/// The templates, by name.
#[derive(Debug, Default)]
pub(crate) struct Templates(HashMap<String, Template>);

#[derive(Debug)]
struct Template {
    /// `garden.yml:3`.
    place: String,
    /// Whether something in it may be a container image that is built.
    builds: bool,
}

impl Templates {
    /// Adds the `document` if it is a template. Garden refuses two of one name, which is reported.
    pub(crate) fn add(&mut self, document: &Node, problems: &Problems) {
        if !matches!(kind(document), Some("ConfigTemplate" | "ModuleTemplate")) {
            return;
        }
        let Some(template) = document.as_mapping() else { return };
        let Some(name) = text(template, "name") else { return };
        if let Some(other) = self.0.get(name) {
            let message = format!("there are two templates called `{name}`; the other is at {}", other.place);
            problems.report(document.position, message, Some("rename one of the two".to_owned()));
            return;
        }
        let place = place(problems.source(), document.position);
        let builds = may_build(template, "configs") || may_build(template, "modules");
        self.0.insert(name.to_owned(), Template { place, builds });
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
        // What an operation beside them makes of the fields is not known.
        let known = |field: &str| mapping.get(field).filter(|_| !resolve::is_operation(mapping));
        if known("disabled").and_then(Node::as_flag) == Some(true) {
            return;
        }
        let name = text(mapping, "name").map(|name| format!(" `{name}`")).unwrap_or_default();
        self.0.push(Maker {
            source: source.clone(),
            position: document.position,
            what: format!("the {what}{name}"),
            template: known("template").and_then(Node::as_text).map(str::to_owned),
        });
    }

    /// Drops those whose templates hold no image that is built, such as templates of `Deploy`s.
    pub(crate) fn retain_builders(&mut self, templates: &Templates) {
        self.0.retain(|maker| {
            maker
                .template
                .as_ref()
                .and_then(|template| templates.0.get(template))
                .is_none_or(|template| template.builds)
        });
    }

    /// Explains why a list of what is built would not be whole; nothing if there is nothing that is not expanded.
    pub(crate) fn problems(&self, project: &Project) -> Vec<Problem> {
        let problem = |source: &Source, position: Position, message: String| {
            let problems = Problems::new(source);
            let hint = "expand them with Garden, or list only what stands in files (written builds)";
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
        // Each holds the text of its file, and nobody reads more.
        sources.chain(makers).take(Documents::MOST_PROBLEMS).collect()
    }

    /// Names what a module or action may come from that stands in no file.
    pub(crate) fn origins(&self, project: &Project) -> Option<String> {
        const TOLD: usize = 3;
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

/// Whether a list of a template may hold a container image that is built.
fn may_build(template: &Mapping, list: &str) -> bool {
    let is_build = |item: &Node| {
        let Some(item) = item.as_mapping() else { return true };
        // What an operation comes to is not known.
        if resolve::is_operation(item) {
            return true;
        }
        let known = |field: &str| item.get(field).and_then(Node::as_text).filter(|text| !is_template(text));
        let generation = match known("kind") {
            _ if list == "modules" => BuildGeneration::Module,
            Some("Module") => BuildGeneration::Module,
            Some("Build") | None => BuildGeneration::Action,
            Some(_) => return false,
        };
        // What is of no known type is not known to make no image; modules of a template may come of templates again.
        known("type").and_then(|name| generation.product(name)) != Some(Product::Other)
    };
    match template.get(list).map(|node| &node.value) {
        None | Some(Value::Null) => false,
        Some(Value::Sequence(items)) => items.iter().any(is_build),
        Some(_) => true,
    }
}

fn place(source: &Source, position: Position) -> String {
    format!("{}:{}", source.file.display(), position.line)
}

fn text<'a>(mapping: &'a Mapping, field: &str) -> Option<&'a str> {
    mapping.get(field)?.as_text()
}
