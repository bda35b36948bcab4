//! `cargo xtask schema`: the JSON Schemas, which are committed: that of the project files for editors, that of events for programs that read
//! them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A committed file, and what the types say.
type Schema = (&'static str, fn() -> Value);

const SCHEMAS: [Schema; 2] = [
    ("garden-config/schema/garden.schema.json", garden_build::config::schema),
    ("garden-build-core/schema/event.schema.json", garden_build::event_schema),
];

/// Writes the schemas.
pub(crate) fn write() -> Result<()> {
    for (file, schema) in SCHEMAS {
        let file = path(file);
        fs::write(&file, text(&schema())?).with_context(|| format!("writing {}", file.display()))?;
        println!("wrote {}", file.display());
    }
    Ok(())
}

/// Makes sure that the committed schemas are what the types say.
pub(crate) fn check() -> Result<()> {
    for (file, schema) in SCHEMAS {
        let file = path(file);
        let committed = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        if committed != text(&schema())? {
            bail!("{} is not what the types say: run `cargo xtask schema`", file.display());
        }
    }
    Ok(())
}

fn text(schema: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(schema)? + "\n")
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("crates").join(file)
}
