//! Actions: `kind: Build` with `type: container`.

use std::path::PathBuf;
use std::time::Duration;

use garden_build_core::BuildSecret;

use crate::Environment;
use crate::build::BuildConfig;
use crate::build::documents::BuildDocument;
use crate::build::fields::{self as shared, Place};
use crate::document::decode::Fields;
use crate::document::node::{Node, Value};
use crate::document::problems::Problems;
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
    build.image = fields.text("localId").map(str::to_owned);
    build.publish_id = fields.text("publishId").map(str::to_owned);
    if let Some(dockerfile) = fields.text("dockerfile") {
        build.dockerfile = PathBuf::from(dockerfile);
    }
    build.target = fields.text("targetStage").map(str::to_owned);
    build.build_args = shared::build_args(&fields, problems);
    build.extra_flags = shared::flags(&fields, problems);
    build.platforms = fields.texts("platforms");
    if let Some(node) = fields.node("secrets") {
        problems.hide(fields.key_position("secrets"));
        read_secrets(node, build, problems);
    }
    fields.finish();
}

/// Reads secrets; no message quotes one.
fn read_secrets(node: &Node, build: &mut BuildConfig, problems: &Problems) {
    let Some(mapping) = node.as_mapping() else {
        problems.report(node.position, "`secrets` must be a mapping from ids to texts", None);
        return;
    };
    for entry in &mapping.0 {
        match &entry.value.value {
            Value::String(secret) => {
                build.secrets.insert(entry.key.clone(), BuildSecret::new(secret.as_bytes()));
            }
            Value::Unresolved => {}
            _ => {
                let message = format!("the secret `{}` must be text, not {}", entry.key, entry.value.kind());
                problems.report(entry.value.position, message, Some("write it in quotes".to_owned()));
            }
        }
    }
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

/// The action's own variables, with those of its `varfiles` on top.
pub(super) fn own_variables(
    document: &BuildDocument,
    environment: &Environment<'_>,
    problems: &Problems,
) -> Option<Node> {
    let mapping = document.node.as_mapping()?;
    let own = mapping.get("variables").cloned();
    let Some(varfiles) = mapping.get("varfiles") else { return own };
    let varfiles = resolve::all(
        varfiles,
        &environment.keys(document.this(environment, own.as_ref()), own.as_ref()),
        problems,
    );
    shared::below_files(own, varfile::of_list(&varfiles, problems))
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
