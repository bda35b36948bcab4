//! A JSON Schema of events, for programs that read them from elsewhere.

use schemars::generate::SchemaSettings;

use crate::Event;

/// Returns a JSON Schema (draft 7) of one [`Event`] as JSON. A build's events are any number of them, one after the other.
pub fn event_schema() -> serde_json::Value {
    let settings = SchemaSettings::draft07().for_serialize();
    settings.into_generator().into_root_schema_for::<Event>().to_value()
}
