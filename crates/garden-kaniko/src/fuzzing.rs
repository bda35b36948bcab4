//! What the fuzz targets of this crate run; see `fuzz` at the top of the repository.

use garden_build_core::{Digest, event_channel};

use crate::ending::Ending;
use crate::failure;
use crate::progress::Progress;
use crate::service::Key;

pub use crate::pack::fuzzing::pack_index;
pub use crate::service::fuzzing::context_service;

/// Reads the log of an executor, in which a step of the Dockerfile may print whatever it likes, and says what its end means.
///
/// # Panics
/// If more is kept of it than a log may cost.
pub fn executor_log(data: &[u8]) {
    let destination = "registry.example/api:v-1".parse().expect("a name");
    let (events, _stream) = event_channel();
    let mut progress = Progress::new(events, &destination);
    let mut ending = Ending::new(Some(Key::random()));
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        if let Some(shown) = ending.line(line) {
            progress.line(shown);
        }
    }
    assert_eq!(ending.image(), None::<Digest>, "nobody else knows the key");
    let (cached, run) = progress.counts();
    let lines = text.lines().count();
    assert!(cached + run <= lines && progress.tail().len() <= 20);
    assert!(progress.instruction().is_none_or(|instruction| instruction.len() <= 1100));
    progress.end(None);
    for exit_code in [0, 1, 137] {
        assert!(!failure::explain(exit_code, &progress).message().is_empty());
    }
}

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("pack_index", pack_index);
    garden_test_programs::run_seeds("context_service", context_service);
    garden_test_programs::run_seeds("executor_log", executor_log);
}
