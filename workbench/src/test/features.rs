//! Checks the crates with each choice of features that a user may make.

use anyhow::Result;
use xtask::cargo::{command, succeed};

/// The published crates.
const CRATES: [&str; 9] = [
    "garden-build",
    "garden-build-core",
    "garden-buildkit",
    "garden-cluster",
    "garden-config",
    "garden-docker",
    "garden-kaniko",
    "garden-network",
    "garden-registry",
];

/// The features of the facade that each leave something out.
const PARTS: [&str; 4] = ["buildkit", "config", "docker", "kaniko"];

/// With all features they are checked together with everything else, so that these are the others: the default ones, and
/// none. Without `k8s-latest`, the program at the top says for which Kubernetes it is; the oldest that is supported does.
///
/// Then each part alone. The crates below have the same features each time, so that only the facade is checked anew. Nothing in it depends on two
/// parts, so that pairs show no more.
pub(super) fn check_each() -> Result<()> {
    // Selected by name, since a package beside them would switch features on.
    let packages: Vec<_> = CRATES.iter().flat_map(|name| ["--package", name]).collect();
    let clippy = |choice: &[&str]| {
        let arguments = ["clippy", "--lib"].iter().chain(&packages).chain(choice);
        // Here tests do not hide a dependency that nothing else uses.
        let arguments = arguments.copied().chain(["--", "-D", "warnings", "-D", "unused_crate_dependencies"]);
        succeed(&mut command(arguments), &format!("cargo clippy {}", choice.join(" ")))
    };
    clippy(&[])?;
    clippy(&["--no-default-features", "--features", "k8s-openapi/earliest"])?;
    PARTS.iter().try_for_each(|part| {
        let features = format!("k8s-openapi/earliest,garden-build/{part}");
        clippy(&["--no-default-features", "--features", &features])
    })
}
