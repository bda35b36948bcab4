//! A Dockerfile that came with somebody else's repository.

use super::{Dockerfile, StagesBuilt, reads};
use crate::BuildRequest;
use crate::context::go_path;

/// Reads a Dockerfile, as each kind of builder builds it.
///
/// # Panics
/// If what is read of it cannot be so.
pub fn dockerfile(data: &[u8]) {
    let dockerfile = Dockerfile { path: "Dockerfile".into(), contents: data.into() };
    let plain = BuildRequest::new("api", "/nowhere");
    let full = plain.clone().target("build").build_arg("ARG", "a b/../c").platform("linux/arm64/v8");
    for request in [plain, full] {
        for built in [StagesBuilt::Needed, StagesBuilt::ThroughTarget] {
            match reads(data, &request, built) {
                Ok(read) => read.sources.iter().for_each(|source| assert_is_in_context(source)),
                Err(doubt) => assert!(!doubt.to_string().is_empty()),
            }
        }
        let lines = data.split(|byte| *byte == b'\n').count();
        for used in dockerfile.uses(&request) {
            assert!((1..=lines).contains(&used.line), "{used:?} in {lines} lines");
        }
        for image in dockerfile.images(&request).into_iter().chain(dockerfile.frontend(&request)) {
            assert_eq!(image.to_string().parse(), Ok(image));
        }
        dockerfile.platform_variables(&request);
    }
}

/// What is read is found below the context directory, whatever the Dockerfile says.
fn assert_is_in_context(source: &str) {
    assert_eq!(go_path::clean(source), source, "a detour");
    assert!(!source.starts_with('/') && source.split('/').all(|part| part != ".."), "{source:?}");
}

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("dockerfile", dockerfile);
}
