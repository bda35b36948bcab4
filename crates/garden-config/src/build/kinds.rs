//! What a document of a project's files is: its `kind`, and the `type` of a module or Build action.

use crate::document::node::Node;
use crate::document::placeholder::is_template;
use crate::document::problems::Problems;
use crate::document::suggest;
use crate::project::Generation;
use crate::{NoticeKind, project};

/// How Garden calls what is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildGeneration {
    /// `kind: Module`, until Garden 0.12 and still read by later ones.
    Module,
    /// `kind: Build`, since Garden 0.13.
    Action,
}

impl BuildGeneration {
    /// What Garden calls it.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Action => "Build action",
        }
    }

    /// The types that Garden has, and what they make.
    ///
    /// Source: Garden 0.12 to 0.14, `createModuleTypes` and `createActionTypes` of the plugins in `core/src/plugins` and
    /// `plugins`.
    fn types(self) -> &'static [(&'static str, Product)] {
        match self {
            Self::Module => &MODULE_TYPES,
            Self::Action => &ACTION_TYPES,
        }
    }

    /// What `type` makes; `None` if Garden has no such type.
    pub(crate) fn product(self, name: &str) -> Option<Product> {
        self.types().iter().find(|(known, _)| *known == name).map(|(_, product)| *product)
    }

    /// Describes which type was probably meant by `name`.
    pub(crate) fn suggest_type(self, name: &str) -> Option<String> {
        let names: Vec<&str> = self.types().iter().map(|(name, _)| *name).collect();
        suggest::help(name, &names)
    }
}

/// What comes of a module or Build action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// A container image that can be built here.
    Image,
    /// A container image that only Garden can build.
    ForeignImage,
    /// Modules and actions, from a template.
    Documents,
    /// No container image.
    Other,
}

const ACTION_TYPES: [(&str, Product); 3] =
    [("container", Product::Image), ("exec", Product::Other), ("jib-container", Product::ForeignImage)];

const MODULE_TYPES: [(&str, Product); 17] = [
    ("configmap", Product::Other),
    ("conftest", Product::Other),
    ("container", Product::Image),
    ("exec", Product::Other),
    ("google-cloud-function", Product::Other),
    ("hadolint", Product::Other),
    ("helm", Product::Other),
    ("jib-container", Product::ForeignImage),
    ("kubernetes", Product::Other),
    ("local-google-cloud-function", Product::Other),
    ("maven-container", Product::ForeignImage),
    ("npm-package", Product::Other),
    ("openfaas", Product::Other),
    ("persistentvolumeclaim", Product::Other),
    ("pulumi", Product::Other),
    ("templated", Product::Documents),
    ("terraform", Product::Other),
];

/// The kinds of documents that are neither modules nor Build actions.
const OTHER_KINDS: [&str; 9] = [
    "Project",
    "Deploy",
    "Run",
    "Test",
    "Command",
    "Workflow",
    "ConfigTemplate",
    "ModuleTemplate",
    "RenderTemplate",
];

/// Reads whether a `document` is a module or a Build action. Of one whose kind Garden does not know, Garden 0.12 warns and passes
/// over it, which is noticed; the others refuse it, which is reported. All refuse what has no kind at all.
///
/// Source: Garden, `prepareResource` in `core/src/config/base.ts`.
pub(super) fn read(document: &Node, generation: Generation, problems: &Problems) -> Option<BuildGeneration> {
    match project::kind(document) {
        Some("Module") => return Some(BuildGeneration::Module),
        Some("Build") => return Some(BuildGeneration::Action),
        Some(kind) if OTHER_KINDS.contains(&kind) => return None,
        _ => {}
    }
    let hint = "write `kind: Build`, or leave the file out with `scan.exclude`";
    let Some(mapping) = document.as_mapping() else {
        let message = format!("a document must be a mapping with the field `kind`, not {}", document.kind());
        problems.report(document.position, message, Some(hint.to_owned()));
        return None;
    };
    let Some(node) = mapping.get("kind").filter(|node| !node.is_null() && node.as_text() != Some("")) else {
        problems.report(document.position, "a document needs the field `kind`", Some(hint.to_owned()));
        return None;
    };
    let (message, hint) = match node.as_text() {
        Some(kind) if is_template(kind) => ("`kind` cannot hold a template".to_owned(), hint.to_owned()),
        Some(kind) => {
            let kinds: Vec<&str> = ["Module", "Build"].into_iter().chain(OTHER_KINDS).collect();
            let meant = suggest::help(kind, &kinds);
            (format!("`{kind}` is not a kind of document"), meant.unwrap_or_else(|| hint.to_owned()))
        }
        None => (format!("`kind` must be text, not {}", node.kind()), hint.to_owned()),
    };
    if generation == Generation::V0 {
        let message = format!("{message}, so the document is passed over");
        problems.notice(NoticeKind::PassedOver, "kind", node.position, message, hint);
    } else {
        problems.report(node.position, message, Some(hint));
    }
    None
}
