//! What the fuzz targets of this crate run; see `fuzz` at the top of the repository.

pub use crate::client::file_sync::fuzzing::file_sync;
pub use crate::progress::fuzzing::buildkit_progress;

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("file_sync", file_sync);
    garden_test_programs::run_seeds("buildkit_progress", buildkit_progress);
}
