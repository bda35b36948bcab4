//! Modules: `kind: Module` with `type: container`.

use std::path::PathBuf;
use std::time::Duration;

use crate::Environment;
use crate::build::documents::BuildDocument;
use crate::build::fields as shared;
use crate::build::{BuildConfig, image_names, lacks_dockerfile};
use crate::document::decode::{Fields, report_duplicate_keys};
use crate::document::node::Node;
use crate::document::problem::{Issue, Problems};
use crate::keys::resolve;
use crate::project::{VariableFields, varfile};

/// Reads a module.
pub(crate) fn read(
    document: &BuildDocument,
    environment: &Environment<'_>,
    problems: &Problems,
) -> Option<BuildConfig> {
    report_duplicate_keys(&document.node, problems);
    shared::check_type(document, "module", problems)?;
    let own = own_variables(document, environment, problems);
    let keys = environment.keys(document.name(), own.as_ref());
    let node = resolve::fields(&document.node, &SET_ASIDE, &keys, problems);
    let fields = Fields::open(&node, "a container module", problems)?;
    fields.set_aside(&SET_ASIDE);

    let mut build = BuildConfig::new(fields.required_text("name").unwrap_or_default(), document.directory());
    build.timeout = BuildConfig::MODULE_TIMEOUT;
    shared::refuse_disabled(&fields, "module", problems);
    shared::refuse_repository(&fields, "repositoryUrl", problems);
    shared::refuse_list(&fields, "generateFiles", "files that Garden makes before a build", problems);
    if let Some(node) = fields.node("build") {
        read_build(node, &mut build, problems);
    }
    build.include = shared::globs_or_all(&fields, "include");
    build.exclude = fields.texts("exclude");
    build.build_args = shared::build_args(&fields, problems);
    build.extra_flags = shared::flags(&fields, problems);
    // `image: false` and `dockerfile: false` count as left out.
    let image = shared::text_unless_false(&fields, "image");
    if let Some(dockerfile) = shared::text_unless_false(&fields, "dockerfile") {
        build.dockerfile = PathBuf::from(dockerfile);
    }
    if let Some(image) = image {
        let (name, publish_id) = image_names(image);
        build.image = Some(name);
        build.publish_id = publish_id;
        if lacks_dockerfile(&build.directory, &build.dockerfile) {
            let message = format!(
                "the module `{}` has no Dockerfile: it uses the image `{image}` as it is",
                build.name
            );
            let hint = "there is nothing to build; remove `image`, or add a Dockerfile".to_owned();
            problems.report(fields.key_position("image"), message, Some(hint));
        }
    }
    // One field of a module tells both names.
    let place = |issue: Issue| if issue.field == "publishId" { issue.renamed("image") } else { issue };
    fields.finish_with(|| build.issues().into_iter().map(place).collect());
    Some(build)
}

/// Reads the field `build`.
fn read_build(node: &Node, build: &mut BuildConfig, problems: &Problems) {
    let Some(fields) = Fields::open(node, "`build`", problems) else { return };
    shared::refuse_copies(&fields, "dependencies", "copy", problems);
    if let Some(seconds) = fields.integer("timeout", 1..=i64::from(u32::MAX)) {
        build.timeout = Duration::from_secs(seconds);
    }
    build.target = fields.text("targetImage").map(str::to_owned);
    fields.finish();
}

/// The module's own variables, with those of its `varfile` on top.
fn own_variables(
    document: &BuildDocument,
    environment: &Environment<'_>,
    problems: &Problems,
) -> Option<Node> {
    let fields = Fields::open(&document.node, "a container module", problems)?;
    let variables = VariableFields { imports: None, ..VariableFields::read(&fields) };
    let mut own = variables.variables.clone();
    if variables.varfile.is_some() {
        let keys = environment.keys(document.name(), own.as_ref());
        for file in varfile::of_fields(&variables, "", &keys, problems) {
            match &mut own {
                Some(own) => own.merge(&file),
                None => own = Some(file),
            }
        }
    }
    own
}

/// Fields of a module that do not concern building, or were read before the others.
pub(crate) const SET_ASIDE: [&str; 11] = [
    "allowPublish",
    "apiVersion",
    "description",
    "hotReload",
    "kind",
    "services",
    "tasks",
    "tests",
    "type",
    "variables",
    "varfile",
];
