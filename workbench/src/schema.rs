//! `cargo xtask schema`: the JSON Schema of the project files, which is committed for editors to use.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Writes the schema.
pub(crate) fn write() -> Result<()> {
    let file = file();
    fs::write(&file, text()?).with_context(|| format!("writing {}", file.display()))?;
    println!("wrote {}", file.display());
    Ok(())
}

/// Makes sure that the committed schema is what the types say.
pub(crate) fn check() -> Result<()> {
    let file = file();
    let committed = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    if committed != text()? {
        bail!("{} is not what the types say: run `cargo xtask schema`", file.display());
    }
    Ok(())
}

fn text() -> Result<String> {
    Ok(serde_json::to_string_pretty(&garden_build::config::schema())? + "\n")
}

fn file() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.with_file_name("crates").join("garden-config/schema/garden.schema.json")
}
