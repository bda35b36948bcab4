//! Values as YAML that reads back as the same values.

use serde::Serialize;
use serde_json::Value;

use crate::ConfigError;
use crate::document::placeholder::{escape, is_template};
use crate::document::yaml;

/// Writes `value` as a document.
pub(crate) fn document(value: &impl Serialize) -> Result<String, ConfigError> {
    let value = serde_json::to_value(value).map_err(ConfigError::unwritable)?;
    yaml::write(&literal(value)).map_err(ConfigError::unwritable)
}

/// Makes every text one that is not taken for a template.
pub(crate) fn literal(value: Value) -> Value {
    match value {
        Value::String(text) if is_template(&text) => Value::String(escape(&text)),
        Value::Array(items) => items.into_iter().map(literal).collect(),
        Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, literal(value))).collect(),
        other => other,
    }
}
