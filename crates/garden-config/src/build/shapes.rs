//! What fields of modules and actions may be, for the schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A path that is not absolute and has no part `..`.
const INSIDE: &str = "^(?=.)(?!/)(?!(?:.*/)?\\.\\.(?:/|$))";

/// What a glob cannot be, as `FileGlobs` says, so far as a pattern can tell: absolute, negated, leading out, with an extended group, a
/// bracket that stays open or nothing behind a backslash.
const NO_GLOB: &str = r"^[/!]|(^|/)\.\.(/|$)|[?*+@!]\(|(^|[^\\])\[[^\]]*[^\]/]$|(^|[^\\])\[$|(^|[^\\])\\$";

/// The first brace opens, the last closes, and there is a comma between them.
const WITH_BRACES: &str = r"^(?:[^{}\\]|\\[\s\S])*(?:\{[\s\S]*,[\s\S]*\}(?:[^{}\\]|\\[\s\S])*)?$";

/// Lower-case words with separators between them, and a slash between each two: the path of an image.
macro_rules! image_path {
    () => {
        r"(?:[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*/)*[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
    };
}

/// The name of an image. What looks like a registry in front of it, and a tag or digest behind it, do not matter.
const IMAGE: &str = concat!(r"^(?:[^/]*[.:][^/]*/|localhost/)?", image_path!(), r"(?:[:@][^/]*)?$");

/// The name of an image with registry, tag and digest as they can be.
const REFERENCE: &str = concat!(
    r"^(?:[A-Za-z0-9._:-]+/)?",
    image_path!(),
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-fA-F]+)?$"
);

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
    /// A glob of files.
    Glob,
    { "type": "string", "minLength": 1, "maxLength": 4096, "pattern": WITH_BRACES, "not": { "pattern": NO_GLOB } }
);

shape!(
    /// The name of an image; `false` means none.
    FalseOrImage,
    { "anyOf": [{ "const": false }, { "type": "string", "pattern": IMAGE }] }
);

shape!(
    /// The name under which an image is published; `false` means none.
    FalseOrReference,
    { "anyOf": [{ "const": false }, { "type": "string", "pattern": REFERENCE }] }
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
