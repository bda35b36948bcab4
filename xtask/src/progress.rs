//! Progress as plain lines: what is being done, then how long it took.

use std::time::Instant;

use anyhow::{Context, Result};

/// Announces `what`, does it, and says how long it took.
///
/// # Errors
///
/// Fails as `work` does, and says what was being done.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("{what} …");
    let start = Instant::now();
    let result = work().with_context(|| what.to_owned())?;
    // Several may be going on at once, so the end names what has ended.
    println!("  {what}: done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(result)
}
