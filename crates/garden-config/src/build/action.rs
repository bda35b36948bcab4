//! Actions: `kind: Build` with `type: container`.

use std::path::PathBuf;
use std::time::Duration;

use garden_build_core::BuildSecret;

use crate::Environment;
use crate::build::BuildConfig;
use crate::build::documents::BuildDocument;
use crate::build::fields as shared;
use crate::document::decode::{Fields, report_duplicate_keys};
use crate::document::node::{Node, Value};
use crate::document::problem::{Issue, Problems};
use crate::keys::resolve;
use crate::project::varfile;

/// Reads an action.
pub(crate) fn read(
    document: &BuildDocument,
    environment: &Environment<'_>,
    problems: &Problems,
) -> Option<BuildConfig> {
    report_duplicate_keys(&document.node, problems);
    shared::check_type(document, "Build action", problems)?;
    let own = own_variables(document, environment, problems);
    let keys = environment.keys(document.name(), own.as_ref());
    let node = resolve::fields(&document.node, &SET_ASIDE, &keys, problems);
    let fields = Fields::open(&node, "a Build action", problems)?;
    fields.set_aside(&SET_ASIDE);

    let mut build = BuildConfig::new(fields.required_text("name").unwrap_or_default(), document.directory());
    shared::refuse_disabled(&fields, "action", problems);
    refuse_other_environments(&fields, environment, problems);
    shared::refuse_list(&fields, "copyFrom", "files of other builds", problems);
    if let Some(node) = fields.node("source") {
        read_source(node, &mut build, problems);
    }
    build.include = shared::globs_or_all(&fields, "include");
    build.exclude = fields.texts("exclude");
    if let Some(seconds) = fields.integer("timeout", 1..=i64::from(u32::MAX)) {
        build.timeout = Duration::from_secs(seconds);
    }
    if let Some(node) = fields.node("spec") {
        read_spec(node, &mut build, problems);
    }
    let place = |issue: Issue| match issue.field.as_str() {
        "image" => issue.renamed("spec.localId"),
        "publishId" => issue.renamed("spec.publishId"),
        "dockerfile" => issue.renamed("spec.dockerfile"),
        "secrets" => issue.renamed("spec.secrets"),
        _ => issue,
    };
    fields.finish_with(|| build.issues().into_iter().map(place).collect());
    Some(build)
}

fn read_source(node: &Node, build: &mut BuildConfig, problems: &Problems) {
    let Some(fields) = Fields::open(node, "`source`", problems) else { return };
    shared::refuse_repository(&fields, "repository", problems);
    if let Some(path) = fields.text("path") {
        build.directory.push(path);
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
fn own_variables(
    document: &BuildDocument,
    environment: &Environment<'_>,
    problems: &Problems,
) -> Option<Node> {
    let mapping = document.node.as_mapping()?;
    let mut own = mapping.get("variables").cloned();
    if let Some(varfiles) = mapping.get("varfiles") {
        let keys = environment.keys(document.name(), own.as_ref());
        for file in varfile::of_list(&resolve::all(varfiles, &keys, problems), problems) {
            match &mut own {
                Some(own) => own.merge(&file),
                None => own = Some(file),
            }
        }
    }
    own
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
