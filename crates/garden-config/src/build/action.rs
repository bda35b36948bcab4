//! Actions: `kind: Build` with `type: container`.

use std::path::PathBuf;
use std::time::Duration;

use crate::Environment;
use crate::build::documents::BuildDocument;
use crate::build::fields::{self as shared, Place};
use crate::build::{BuildConfig, image_names};
use crate::document::decode::Fields;
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::keys::declared::DeclaredVariables;
use crate::keys::resolve;
use crate::project::varfile;

/// Reads what only actions have; returns where the fields of a [`BuildConfig`] are written that stand elsewhere in an
/// action.
pub(super) fn read(
    fields: &Fields<'_>,
    build: &mut BuildConfig,
    environment: &Environment<'_>,
    problems: &Problems,
) -> &'static [Place] {
    refuse_other_environments(fields, environment, problems);
    shared::refuse_list(fields, "copyFrom", "files of other builds", problems);
    if let Some(node) = fields.node("source") {
        read_source(node, build, problems);
    }
    if let Some(seconds) = fields.integer("timeout", 1..=i64::from(u32::MAX)) {
        build.timeout = Duration::from_secs(seconds);
    }
    if let Some(node) = fields.node("spec") {
        read_spec(node, build, problems);
    }
    &[
        ("image", "spec.localId"),
        ("publishId", "spec.publishId"),
        ("dockerfile", "spec.dockerfile"),
        ("secrets", "spec.secrets"),
    ]
}

fn read_source(node: &Node, build: &mut BuildConfig, problems: &Problems) {
    let Some(fields) = Fields::open(node, "`source`", problems) else { return };
    shared::refuse_repository(&fields, "repository", problems);
    if let Some(path) = fields.text("path")
        && let Some(directory) = problems.path(path, fields.key_position("path"))
    {
        build.directory = directory;
    }
    fields.finish();
}

fn read_spec(node: &Node, build: &mut BuildConfig, problems: &Problems) {
    let Some(fields) = Fields::open(node, "`spec`", problems) else { return };
    // As with Garden, of a full name only what follows the registry and precedes the tag counts.
    build.image = shared::text_unless_false(&fields, "localId").map(|name| image_names(name).0);
    build.publish_id = shared::text_unless_false(&fields, "publishId").map(str::to_owned);
    if let Some(dockerfile) = fields.text("dockerfile") {
        build.dockerfile = PathBuf::from(dockerfile);
    }
    build.target = fields.text("targetStage").map(str::to_owned);
    build.build_args = shared::build_args(&fields, problems);
    build.extra_flags = shared::flags(&fields, problems);
    build.platforms = fields.texts("platforms");
    build.secrets = shared::secrets(&fields, problems);
    fields.finish();
}

/// An action can be limited to some environments.
fn refuse_other_environments(fields: &Fields<'_>, environment: &Environment<'_>, problems: &Problems) {
    let environments = fields.texts("environments");
    if fields.node("environments").is_some() && !environments.iter().any(|name| name == environment.name()) {
        let message = format!("the action is not for the environment `{}`", environment.name());
        let hint = format!("select one of its own, or add `{}` to `environments`", environment.name());
        problems.report(fields.key_position("environments"), message, Some(hint));
    }
}

/// The action's own variables, with those of its `varfiles` above.
pub(super) fn own_variables(
    document: &BuildDocument,
    environment: &Environment<'_>,
    problems: &Problems,
) -> DeclaredVariables {
    let field = |name: &str| document.node.as_mapping().and_then(|mapping| mapping.get(name));
    let generation = environment.project().generation;
    let own = DeclaredVariables::new(field("variables").cloned(), [], generation);
    let Some(varfiles) = field("varfiles") else { return own };
    let keys = environment.keys(document.this(environment, &own), Some(&own));
    let varfiles = resolve::all(varfiles, &keys, problems);
    let files = varfile::of_list(&varfiles, &environment.project().variable_files, problems);
    DeclaredVariables::new(field("variables").cloned(), files, generation)
}

/// Fields of an action that do not concern what is built, or were read before the others.
pub(crate) const SET_ASIDE: [&str; 11] = [
    "allowPublish",
    "apiVersion",
    "buildAtSource",
    "dependencies",
    "description",
    "kind",
    "logLevel",
    "type",
    "variables",
    "varfiles",
    "version",
];
