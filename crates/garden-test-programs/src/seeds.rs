//! The seeds of the fuzz targets, which ordinary tests run as well.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// In how many places each seed is cut, besides being taken as it is. What is cut is the plainest kind of damage.
const CUTS: usize = 32;

/// Runs the fuzz target called `name` on each of its seeds (`fuzz/seeds/NAME`), and on beginnings of each. A fuzzer needs libFuzzer and
/// minutes, so this is what keeps targets and seeds right everywhere.
///
/// # Panics
/// If the target does, which names the seed, or if there is no seed.
pub fn run_seeds(name: &str, target: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut seeds: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} has no seed", directory.display());
    for path in seeds {
        let seed = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cuts = (0..CUTS).map(|cut| seed.len() * cut / CUTS);
        for end in cuts.chain([seed.len()]) {
            let run = catch_unwind(AssertUnwindSafe(|| target(&seed[..end])));
            assert!(run.is_ok(), "the target {name} fails on the first {end} bytes of {}", path.display());
        }
    }
}
