//! Checks the crates with each choice of features that a user may make.

use anyhow::Result;
use xtask::cargo::{command, succeed};

/// The published crates.
const CRATES: [&str; 10] = [
    "garden-build",
    "garden-build-core",
    "garden-build-testing",
    "garden-buildkit",
    "garden-cluster",
    "garden-config",
    "garden-docker",
    "garden-kaniko",
    "garden-network",
    "garden-registry",
];

/// The features of the facade that each leave something out: the build modes and what it does with project files.
const PARTS: [&str; 6] = ["buildkit", "config", "docker", "kaniko", "miette", "schema"];

/// The crates with features of their own that are not the choice of a Kubernetes version, and those features.
const BELOW: [(&str, &[&str]); 2] =
    [("garden-build-core", &["schema"]), ("garden-config", &["files", "miette", "schema"])];

/// For which Kubernetes everything is if nothing else says so. Without `k8s-latest`, the program at the top does; the oldest that is supported
/// will do.
const KUBERNETES: &str = "k8s-openapi/earliest";

/// With all features the crates are checked together with everything else, so that these are the others.
///
/// The crates that have features are checked with every set of them. The facade is checked with the default ones, with none, with each part
/// alone, and with all of them where the program at the top chooses the Kubernetes version. Nothing in it depends on two parts, so
/// that pairs show no more.
pub(super) fn check_each() -> Result<()> {
    // Selected by name, since a package beside them would switch features on.
    let packages: Vec<_> = CRATES.iter().flat_map(|name| ["--package", name]).collect();
    clippy(&packages, &[])?;
    let without_defaults = |packages: &[&str], features: &str| {
        clippy(packages, &["--no-default-features", "--features", features])
    };
    for (package, features) in BELOW {
        subsets(features).iter().try_for_each(|set| without_defaults(&["--package", package], set))?;
    }
    without_defaults(&packages, KUBERNETES)?;
    PARTS
        .iter()
        .try_for_each(|part| without_defaults(&packages, &format!("{KUBERNETES},garden-build/{part}")))?;
    let all = PARTS.map(|part| format!("garden-build/{part}")).join(",");
    without_defaults(&packages, &format!("{KUBERNETES},{all}"))
}

fn clippy(packages: &[&str], choice: &[&str]) -> Result<()> {
    let arguments = ["clippy", "--lib"].iter().chain(packages).chain(choice);
    // Here tests do not hide a dependency that nothing else uses.
    let arguments = arguments.copied().chain(["--", "-D", "warnings", "-D", "unused_crate_dependencies"]);
    succeed(&mut command(arguments), &format!("cargo clippy {} {}", packages.join(" "), choice.join(" ")))
}

/// Returns all sets of some features, as cargo takes them.
fn subsets(features: &[&str]) -> Vec<String> {
    features.iter().fold(vec![String::new()], |sets, feature| {
        let with = sets
            .iter()
            .map(|set| if set.is_empty() { (*feature).to_owned() } else { format!("{set},{feature}") });
        let with: Vec<_> = with.collect();
        [sets, with].concat()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_there_once() {
        assert_eq!(subsets(&["a", "b"]), ["", "a", "b", "a,b"]);
        assert_eq!(subsets(&["a", "b", "c"]).len(), 8);
    }
}
