//! What a warning is about in detail, for programs.

use serde::{Deserialize, Serialize};

use crate::context::LargeContext;

/// What a warning is about in detail: the numbers, names and places in its words.
///
/// A front end can link to a line, list what makes a context large, or say it in words of its own. Texts are as they came: from files of
/// the context, a builder or a project file.
///
/// In JSON, `type` says which it is; one that a later version adds is read as [`WarningData::Other`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum WarningData {
    /// How large a context is, what makes it so, and which lines of `.dockerignore` leave that out: with
    /// [`WarningCode::LargeContext`](crate::WarningCode::LargeContext).
    LargeContext {
        /// The name of a named context; `None` for the build context.
        context: Option<String>,
        /// How large it is.
        #[serde(flatten)]
        size: LargeContext,
    },
    /// A file of a context: with `FileLeftOut`, `LinkCopied` and `RepositoryInContext`.
    File {
        /// The name of a named context; `None` for the build context.
        context: Option<String>,
        /// Its path in the context. Bytes that are not UTF-8 are escaped in it.
        path: String,
    },
    /// A place in the Dockerfile: with `Builder` and `UnknownToBuilder`.
    Dockerfile {
        /// The line, from 1, where it is known.
        line: Option<u32>,
        /// A page that explains the warning, if the builder names one.
        url: Option<String>,
    },
    /// A field of the configuration: with `DeprecatedField`, `FieldWithoutEffect`, `BetterSetting` and `DocumentPassedOver`.
    Field {
        /// The field, from the provider, module or action down: `kaniko.namespace`.
        field: String,
        /// The file, as it was named when it was loaded; `None` for options that were set in Rust.
        file: Option<String>,
        /// The line of the file, from 1.
        line: Option<usize>,
        /// The column in the line, from 1.
        column: Option<usize>,
    },
    /// A build argument: with `OversizedArgument`.
    BuildArgument {
        /// Its name.
        name: String,
    },
    /// The build is tried again: with `BuilderLost`.
    Try {
        /// Which try now begins, from 2.
        number: usize,
        /// How many there are at most.
        most: usize,
    },
    /// Something else.
    #[serde(other)]
    Other,
}

impl WarningData {
    /// About how many bytes it takes besides its own size.
    pub(crate) fn heap_size(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        match self {
            Self::LargeContext { context, size } => {
                let parts = size.largest.iter().map(|part| size_of_val(part) + part.pattern.len());
                optional(context) + parts.sum::<usize>()
            }
            Self::File { context, path } => optional(context) + path.len(),
            Self::Dockerfile { url, .. } => optional(url),
            Self::Field { field, file, .. } => field.len() + optional(file),
            Self::BuildArgument { name } => name.len(),
            Self::Try { .. } | Self::Other => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_later_version_adds_is_read_as_something_else() {
        let data = |value| serde_json::from_value::<WarningData>(value).expect("data");
        assert_eq!(data(json!({ "type": "phase-of-the-moon", "percent": 97 })), WarningData::Other);
        assert_eq!(
            data(json!({ "type": "file", "context": null, "path": "a", "owner": "root" })),
            WarningData::File { context: None, path: "a".to_owned() }
        );
    }

    #[test]
    fn a_front_end_reads_which_lines_make_a_context_smaller() {
        let written = json!({
            "type": "large-context",
            "context": "assets",
            "bytes": 1_000_000_000,
            "files": 7,
            "largest": [{ "pattern": "**/node_modules", "bytes": 999_999_999, "files": 6 }],
        });
        let read: WarningData = serde_json::from_value(written.clone()).expect("data");
        let WarningData::LargeContext { context, size } = &read else { panic!("{read:?}") };
        assert_eq!(
            (context.as_deref(), size.largest[0].pattern.as_str()),
            (Some("assets"), "**/node_modules")
        );
        assert_eq!(serde_json::to_value(&read).expect("JSON"), written);
        assert!(read.heap_size() > "**/node_modules".len());
    }
}
