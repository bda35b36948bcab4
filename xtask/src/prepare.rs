//! Prepares a machine for a testbed: what takes minutes on a new machine is done side by side.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use anyhow::{Result, anyhow};

use crate::part::Part;
use crate::{machine, programs};

/// Go programs that are built at once. Linking leaves cores idle, and so does fetching; more builds than this need
/// more memory than a small machine has.
const BUILDERS: usize = 2;

/// Installs the packages and builds the programs of a testbed with `parts`, and does `meanwhile` beside it.
///
/// # Errors
///
/// Fails if one of these does. It is printed at once; the others are waited for.
pub fn prepare(parts: &[Part], meanwhile: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    machine::check_prerequisites()?;
    let modules = Mutex::new(VecDeque::from(programs::modules(parts)));
    let next = || modules.lock().map(|mut modules| modules.pop_front());
    // What was begun is finished, for the next time. What was not begun would only keep the reader waiting.
    let noted = |result: Result<()>| {
        if let Err(error) = &result {
            println!("failed: {error:#}");
            if let Ok(mut modules) = modules.lock() {
                modules.clear();
            }
        }
        result
    };
    let build = || -> Result<()> {
        while let Some(module) = next().map_err(|_| anyhow!("another build panicked"))? {
            programs::build_module(&module)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let packages = scope.spawn(|| noted(machine::install_packages(parts)));
        let builders = [(); BUILDERS].map(|()| scope.spawn(|| noted(build())));
        let others = scope.spawn(|| noted(meanwhile()));
        let mut results = vec![packages.join(), others.join()];
        results.extend(builders.map(thread::ScopedJoinHandle::join));
        let ended = results.into_iter().map(|result| result.map_err(|_| anyhow!("a thread panicked"))?);
        ended.collect()
    })
}
