//! Modules: `kind: Module` with `type: container`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Environment;
use crate::build::documents::BuildDocument;
use crate::build::fields::{self as shared, Place};
use crate::build::{BuildConfig, has_usual_dockerfile, image_names};
use crate::document::decode::Fields;
use crate::document::node::{Node, Value};
use crate::document::problems::Problems;
use crate::keys::declared::DeclaredVariables;
use crate::project::{Generation, VariableFields, varfile};

/// Reads what only modules have; returns where the fields of a [`BuildConfig`] are written that have another name
/// in a module.
///
/// Source of the timeouts: Garden, `core/src/config/module.ts`.
pub(super) fn read(
    fields: &Fields<'_>,
    build: &mut BuildConfig,
    environment: &Environment<'_>,
    problems: &Problems,
) -> &'static [Place] {
    build.timeout = match environment.project().generation {
        Generation::V0 => BuildConfig::MODULE_TIMEOUT,
        Generation::V1 | Generation::V2 => BuildConfig::ACTION_TIMEOUT,
    };
    shared::refuse_repository(fields, "repositoryUrl", problems);
    shared::refuse_list(fields, "generateFiles", "files that Garden makes before a build", problems);
    if let Some(node) = fields.node("build") {
        read_build(node, build, problems);
    }
    build.build_args = shared::build_args(fields, problems);
    build.extra_flags = shared::flags(fields, problems);
    // Garden 0.13 and 0.14 take these two of a module, and then forget them.
    build.platforms = fields.texts("platforms");
    build.secrets = shared::secrets(fields, problems);
    // `image: false` and `dockerfile: false` count as left out.
    if let Some(dockerfile) = shared::text_unless_false(fields, "dockerfile") {
        build.dockerfile = PathBuf::from(dockerfile);
    }
    if let Some(image) = shared::text_unless_false(fields, "image") {
        let (name, publish_id) = image_names(image);
        (build.image, build.publish_id) = (Some(name), publish_id);
        if uses_image(fields, &build.directory) {
            let message = format!(
                "the module `{}` has no Dockerfile: it uses the image `{image}` as it is",
                build.name
            );
            let hint = "there is nothing to build; remove `image`, or add a Dockerfile".to_owned();
            problems.report(fields.key_position("image"), message, Some(hint));
        }
    }
    // One field tells both names.
    &[("publishId", "image")]
}

/// Whether the module uses an image as it is, whichever: it names one, and has no Dockerfile to build it from.
pub(super) fn uses_image(fields: &Fields<'_>, directory: &Path) -> bool {
    let is_set = |name| fields.node(name).is_some_and(|node| node.value != Value::Bool(false));
    is_set("image") && !is_set("dockerfile") && !has_usual_dockerfile(directory)
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

/// The module's own variables, with those of its `varfile` above.
pub(super) fn own_variables(
    document: &BuildDocument,
    environment: &Environment<'_>,
    problems: &Problems,
) -> DeclaredVariables {
    let Some(fields) = Fields::open(&document.node, "a container module", problems) else {
        return DeclaredVariables::default();
    };
    let variables = VariableFields::read(&fields);
    let generation = environment.project().generation;
    let own = DeclaredVariables::new(variables.variables.clone(), [], generation);
    if variables.varfile.is_none() {
        return own;
    }
    let keys = environment.keys(document.this(environment, &own), Some(&own));
    let file = varfile::of_fields(&variables, "", &keys, &environment.project().variable_files, problems);
    DeclaredVariables::new(variables.variables.clone(), file, generation)
}

/// Fields of a module that do not concern building, or were read before the others.
pub(crate) const SET_ASIDE: [&str; 12] = [
    "allowPublish",
    "apiVersion",
    "description",
    "hotReload",
    "kind",
    "local",
    "services",
    "tasks",
    "tests",
    "type",
    "variables",
    "varfile",
];
