//! What the fuzz targets of this crate run; see `fuzz` at the top of the repository.

pub use crate::build::fuzzing::classic_build;

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("classic_build", classic_build);
}
