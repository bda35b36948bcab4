//! What the fuzz targets of this crate run; see `fuzz` at the top of the repository.

pub use crate::pod::fuzzing::pod_log;

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("pod_log", pod_log);
}
