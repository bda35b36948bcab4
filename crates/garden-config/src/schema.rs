//! A JSON Schema of the files, for editors.
//!
//! Why: docs/decisions/05-the-schema-comes-from-the-types.md

mod templates;

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::build::document::{ActionDocument, ModuleDocument};
use crate::build::shapes::Glob;
use crate::build::{action, module};
use crate::project::declaration;
use crate::provider::document::ProviderDocument;
use crate::{ProviderConfig, project};

/// A project.
#[derive(JsonSchema)]
#[schemars(rename = "Project", rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["kind", "name"]))]
#[expect(dead_code, reason = "only its schema is used")]
struct ProjectDocument {
    /// `Project`.
    kind: ProjectKind,
    /// For which Garden the file is written: `garden.io/v0` is 0.12, `v1` 0.13, `v2` 0.14.
    api_version: Option<ApiVersion>,
    /// The project's name.
    name: String,
    /// The environments: names, or mappings. Default: any.
    environments: Option<Vec<EnvironmentOrName>>,
    /// The environment that counts if none is asked for. Default: the first.
    default_environment: Option<String>,
    /// How and where images are built.
    providers: Option<Vec<AnyProvider>>,
    /// What `${var.…}` stands for.
    variables: Option<Map<String, Value>>,
    /// A file of variables. Default: `garden.env`, if there is one.
    varfile: Option<String>,
    /// What `${imported.…}` stands for.
    import_variables: Option<Vec<Import>>,
    /// Which files of the directory hold modules and actions.
    scan: Option<Scan>,
    /// The same, with Garden 0.12.
    modules: Option<Scan>,
    /// The name of files that say, as `.gitignore` does, what does not belong to the project. Default: `.gardenignore`.
    dot_ignore_file: Option<String>,
    /// Deprecated: several names.
    dot_ignore_files: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
enum ProjectKind {
    Project,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
enum ApiVersion {
    #[schemars(rename = "garden.io/v0")]
    V0,
    #[schemars(rename = "garden.io/v1")]
    V1,
    #[schemars(rename = "garden.io/v2")]
    V2,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum EnvironmentOrName {
    /// A name.
    Name(String),
    /// A name with what goes with it.
    Environment(EnvironmentDocument),
}

#[derive(JsonSchema)]
#[schemars(rename = "Environment", rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
#[expect(dead_code, reason = "only its schema is used")]
struct EnvironmentDocument {
    /// The environment's name.
    name: String,
    /// What the project's namespace in the cluster is named after, behind the project. Default: `default`.
    default_namespace: Option<String>,
    /// Providers for this environment only.
    providers: Option<Vec<AnyProvider>>,
    /// What `${var.…}` stands for; stronger than the project's.
    variables: Option<Map<String, Value>>,
    /// A file of variables. Default: `garden.NAME.env`, if there is one.
    varfile: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["from"]))]
#[schemars(extend(
    "if" = {
        "required": ["from"],
        "properties": { "from": { "const": "file" } },
        "not": { "required": ["$merge"] },
    },
    "then" = {
        "required": ["path", "format"],
        "properties": { "path": { "not": { "type": "null" } }, "format": { "not": { "type": "null" } } },
    },
))]
#[expect(dead_code, reason = "only its schema is used")]
struct Import {
    /// `file`; what comes from elsewhere is not read here.
    from: ImportSource,
    /// The file, relative to the project file's directory.
    path: Option<String>,
    /// How the file is written.
    format: Option<ImportFormat>,
    /// The list of Garden's cloud service.
    list: Option<String>,
    /// The program that Garden runs.
    command: Option<Vec<String>>,
    /// What the variables are for.
    description: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum ImportSource {
    File,
    GardenCloud,
    Exec,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
enum ImportFormat {
    Yaml,
    Dotenv,
    Json,
}

/// One of the two that build, or one that is left to Garden.
struct AnyProvider;

impl JsonSchema for AnyProvider {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyProvider".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let ours = ["kubernetes", "local-kubernetes"];
        json_schema!({
            "type": "object",
            "required": ["name"],
            "if": { "properties": { "name": { "enum": ours } } },
            "then": generator.subschema_for::<ProviderDocument>(),
        })
    }
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Scan {
    /// Globs of the files that count. Default: all.
    include: Option<Vec<Glob>>,
    /// Globs of files that do not count.
    exclude: Option<Vec<Glob>>,
    /// How Garden asks git.
    git: Option<Map<String, Value>>,
}

/// Returns the JSON Schema (draft 7) of project files, and of the modules and actions beside them.
///
/// A document of another kind is valid, whatever is in it. Wherever a value is expected, a text with a
/// template is, too. The committed one is `schema/garden.schema.json` of this crate.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut branches = Vec::new();
    for (kind, schema) in [
        ("Project", generator.subschema_for::<ProjectDocument>()),
        ("Build", generator.subschema_for::<ActionDocument>()),
        ("Module", generator.subschema_for::<ModuleDocument>()),
    ] {
        let mut condition = json!({ "required": ["kind"], "properties": { "kind": { "const": kind } } });
        // Builds of other types are left to Garden.
        if kind != "Project" {
            condition["required"] = json!(["kind", "type"]);
            condition["properties"]["type"] = json!({ "const": "container" });
        }
        branches.push(json!({ "if": condition, "then": schema }));
    }
    let mut definitions = Value::Object(generator.take_definitions(true));
    for (name, aside) in [
        ("Project", &project::SET_ASIDE[..]),
        ("Environment", &declaration::SET_ASIDE),
        ("Provider", &ProviderConfig::SET_ASIDE),
        ("Build", &action::SET_ASIDE),
        ("Module", &module::SET_ASIDE),
    ] {
        let Some(properties) = definitions[name]["properties"].as_object_mut() else { continue };
        for field in aside {
            let description = "Not read for building.";
            properties.entry(*field).or_insert_with(|| json!({ "description": description }));
        }
    }
    for (definition, field, schema) in only_read() {
        definitions[definition]["properties"][field] = schema;
    }
    for kind in ["Build", "Module"] {
        // Garden's rule for names, `joiIdentifier`.
        definitions[kind]["properties"]["name"]["pattern"] =
            json!("^(?![0-9]+$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$");
    }
    // A dot separates an environment from a namespace.
    definitions["Environment"]["properties"]["name"]["pattern"] = json!(ENVIRONMENT);
    definitions["EnvironmentOrName"]["anyOf"][0]["pattern"] = json!(ENVIRONMENT);
    // The tag that serde writes is unknown to schemars.
    definitions["CacheLayer"]["properties"]["type"] =
        json!({ "description": "What kind of cache it is.", "const": "registry" });
    templates::allow(&mut definitions);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Garden project files, as far as building images is concerned",
        "type": "object",
        "allOf": branches,
        "definitions": definitions,
    })
}

/// What the name of an environment can be.
const ENVIRONMENT: &str = "^[^.]+$";

/// Fields that are read and that no type here has, as they are never written: the definition, the name, the schema.
fn only_read() -> [(&'static str, &'static str, Value); 6] {
    let no_items = json!({ "type": "null" });
    [
        (
            "Project",
            "sources",
            json!({ "description": "Repositories, which are not fetched here.", "type": ["array", "null"] }),
        ),
        (
            "Build",
            "environments",
            json!({
                "description": "The environments that it is for. Default: all.",
                "type": "array",
                "items": { "type": "string" },
            }),
        ),
        ("Build", "disabled", json!({ "description": "Whether the action is left out.", "type": "boolean" })),
        (
            "Build",
            "copyFrom",
            json!({
                "description": "Files of other builds, which are not put into the context here.",
                "type": "array",
                "items": no_items,
            }),
        ),
        (
            "Source",
            "repository",
            json!({ "description": "A repository, which is not fetched here.", "type": "null" }),
        ),
        (
            "ProviderStorage",
            "nfs",
            json!({
                "description": "Has no effect here.",
                "type": "object",
                "properties": { "storageClass": { "type": ["string", "null"] } },
                "additionalProperties": false,
            }),
        ),
    ]
}
