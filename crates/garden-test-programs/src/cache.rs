//! Where built programs are kept, and by what their directories are called.

use std::env;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// Returns the directory of built programs and of what else outlives a testbed: `GARDEN_TESTBED_CACHE`, or a directory
/// in the user's cache.
///
/// # Errors
///
/// Fails if the environment names neither that nor a home.
pub fn cache_directory() -> Result<PathBuf> {
    if let Some(directory) = env::var_os("GARDEN_TESTBED_CACHE") {
        return Ok(std::path::absolute(PathBuf::from(directory))?);
    }
    let user_cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither GARDEN_TESTBED_CACHE, XDG_CACHE_HOME nor HOME is set")?;
    Ok(user_cache.join("garden-build/testbed"))
}

/// Hashes parts framed by their lengths, so that moving a byte from one to the next shows. Returns 16 hexadecimal digits.
pub fn short_hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())[..16].to_owned()
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
