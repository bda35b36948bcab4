//! What belongs to each fuzz target. `cargo xtask fuzz` also compiles this file, so that cargo gives all dependencies the features that tests
//! ask for, and compiles none of them twice.

use std::fs;
use std::path::Path;

#[test]
fn each_target_has_seeds_and_is_built() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    let mut targets = 0;
    for file in fs::read_dir(fuzz.join("fuzz_targets")).expect("targets") {
        let file = file.expect("a target").path();
        let target = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in fuzz/Cargo.toml");
        assert!(fuzz.join("seeds").join(target).is_dir(), "{target} has no seeds");
        targets += 1;
    }
    assert!(targets > 0, "there are no targets");
}
