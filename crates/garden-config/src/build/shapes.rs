//! What fields of modules and actions may be, for the schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A path that is not absolute and has no part `..`.
const INSIDE: &str = "^(?!/)(?!(?:.*/)?\\.\\.(?:/|$))";

/// Makes a type that stands for a schema, written in place of the field's.
macro_rules! shape {
    ($(#[$doc:meta])* $name:ident, $($schema:tt)+) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($($schema)+)
            }
        }
    };
}

shape!(
    /// Build arguments by their names.
    Arguments,
    { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } }
);

shape!(
    /// A flag, whose value may be an item of its own.
    Flag,
    { "type": ["string", "number"] }
);

shape!(
    /// A text for which `false` means nothing.
    FalseOrText,
    { "anyOf": [{ "const": false }, { "type": "string" }] }
);

shape!(
    /// A path inside of the build context.
    Dockerfile,
    { "type": "string", "pattern": INSIDE }
);

shape!(
    /// A path inside of the build context; `false` means nothing.
    FalseOrDockerfile,
    { "anyOf": [{ "const": false }, { "type": "string", "pattern": INSIDE }] }
);

shape!(
    /// Secrets by their ids.
    Secrets,
    {
        "type": "object",
        "propertyNames": { "pattern": "^([A-Za-z0-9._-]+|\\$merge)$" },
        "additionalProperties": { "type": "string" },
    }
);

shape!(
    /// A list that must not name anything.
    NoFiles,
    { "type": "array", "items": { "type": "null" } }
);

shape!(
    /// A field that must not be set.
    Nothing,
    { "type": "null" }
);

shape!(
    /// What is built before; it copies nothing.
    Dependency,
    {
        "properties": {
            "copy": {
                "anyOf": [
                    { "type": "array", "items": { "type": "null" } },
                    { "$ref": "#/definitions/Template" },
                    { "type": "null" },
                ],
            },
        },
    }
);
