//! Progress as plain lines: what is being done, then how long it took.

use std::time::Instant;

use anyhow::{Context, Result};

/// Announces `what`, does it, and says how long it took.
pub(super) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("{what} …");
    let start = Instant::now();
    let result = work().with_context(|| what.to_owned())?;
    println!("  done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(result)
}
