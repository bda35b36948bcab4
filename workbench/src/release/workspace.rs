//! What cargo knows of the crates, and the order in which they can be published.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use xtask::cargo::command;

use crate::test::output_of;

/// The workspace's crates.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Those that are published, in an order in which each comes after all that it needs.
    pub(super) published: Vec<Package>,
    /// The names of the others.
    pub(super) private: BTreeSet<String>,
}

/// A crate as `cargo metadata` shows it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) manifest_path: PathBuf,
    pub(super) description: Option<String>,
    pub(super) license: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) readme: Option<String>,
    pub(super) rust_version: Option<String>,
    pub(super) keywords: Vec<String>,
    pub(super) categories: Vec<String>,
    pub(super) dependencies: Vec<Dependency>,
    /// The registries that it may be published to; all, if there is no list.
    pub(super) publish: Option<Vec<String>>,
    /// The table `package.metadata`.
    #[serde(default)]
    pub(super) metadata: serde_json::Value,
}

/// What a crate depends on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// The versions that it accepts: `*` if it names none.
    pub(super) req: String,
    kind: Option<String>,
    /// Where it lies, if it is a crate of ours.
    pub(super) path: Option<PathBuf>,
}

impl Dependency {
    /// Whether only tests and examples need it.
    pub(super) fn is_for_tests(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }

    /// Whether it has no version. Cargo leaves such a dependency of tests out of the package.
    pub(super) fn is_left_out(&self) -> bool {
        self.is_for_tests() && self.req == "*"
    }
}

impl Workspace {
    /// Asks cargo.
    pub(super) fn read() -> Result<Self> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
        }
        let mut metadata = command(["metadata", "--format-version", "1", "--no-deps", "--locked"]);
        let metadata: Metadata = serde_json::from_str(&output_of(&mut metadata, "cargo metadata")?)
            .context("reading what cargo metadata prints")?;
        Self::of(metadata.packages)
    }

    /// Sorts `packages`.
    pub(super) fn of(packages: Vec<Package>) -> Result<Self> {
        let (published, private): (Vec<_>, Vec<_>) = packages
            .into_iter()
            .partition(|package| package.publish.as_ref().is_none_or(|registries| !registries.is_empty()));
        let private = private.into_iter().map(|package| package.name).collect();
        Ok(Self { published: in_order(published)?, private })
    }

    /// Whether `name` is a crate that is published.
    pub(super) fn publishes(&self, name: &str) -> bool {
        self.published.iter().any(|package| package.name == name)
    }

    /// The version of all of them: a release is of all.
    pub(super) fn version(&self) -> Result<&str> {
        let mut versions: Vec<_> = self.published.iter().map(|package| package.version.as_str()).collect();
        versions.dedup();
        match versions[..] {
            [version] => Ok(version),
            _ => bail!(
                "the published crates have different versions ({}): give all the same",
                versions.join(", ")
            ),
        }
    }

    /// The lowest Rust version of all of them.
    pub(super) fn rust_version(&self) -> Result<&str> {
        let mut versions: Vec<_> =
            self.published.iter().map(|package| package.rust_version.as_deref()).collect();
        versions.dedup();
        match versions[..] {
            [Some(version)] => Ok(version),
            _ => bail!("the published crates do not have one `rust-version`: inherit it from the workspace"),
        }
    }
}

/// Of those that can come next, the first one by name does.
fn in_order(mut waiting: Vec<Package>) -> Result<Vec<Package>> {
    waiting.sort_by(|one, other| one.name.cmp(&other.name));
    let mut order: Vec<Package> = Vec::new();
    while !waiting.is_empty() {
        let names: BTreeSet<_> = waiting.iter().map(|package| package.name.as_str()).collect();
        let is_free = |package: &Package| {
            let mut needed = package.dependencies.iter().filter(|dependency| !dependency.is_left_out());
            needed.all(|dependency| !names.contains(dependency.name.as_str()))
        };
        let Some(next) = waiting.iter().position(is_free) else {
            let names: Vec<_> = names.into_iter().collect();
            bail!(
                "none of these crates can be published before the others: {}. A dependency of tests makes no cycle if it names no version",
                names.join(", ")
            );
        };
        order.push(waiting.remove(next));
    }
    Ok(order)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A crate of ours that `package` needs, or that only its tests need.
    pub(in super::super) fn needs(name: &str, req: &str, kind: Option<&str>) -> Dependency {
        let kind = kind.map(str::to_owned);
        Dependency { name: name.into(), req: req.into(), kind, path: Some("crates".into()) }
    }

    fn package(name: &str, dependencies: Vec<Dependency>) -> Package {
        Package { name: name.into(), version: "0.1.0".into(), dependencies, ..Package::default() }
    }

    fn names(packages: &[Package]) -> Vec<&str> {
        packages.iter().map(|package| package.name.as_str()).collect()
    }

    #[test]
    fn a_crate_is_published_after_all_that_it_needs() {
        let packages = vec![
            package("a", vec![needs("c", "=0.1.0", None), needs("b", "=0.1.0", Some("build"))]),
            package("b", vec![needs("c", "=0.1.0", Some("dev"))]),
            package("c", vec![needs("a", "*", Some("dev")), needs("c", "*", Some("dev"))]),
        ];
        assert_eq!(names(&in_order(packages).expect("is right")), ["c", "b", "a"]);
    }

    #[test]
    fn a_cycle_is_an_error_that_names_its_crates() {
        let packages = vec![
            package("a", vec![needs("b", "=0.1.0", Some("dev"))]),
            package("b", vec![needs("a", "=0.1.0", None)]),
            package("c", vec![]),
        ];
        assert!(in_order(packages).expect_err("is refused").to_string().contains("the others: a, b."));
    }

    #[test]
    fn a_crate_that_may_go_to_no_registry_is_not_published() {
        let private = Package { publish: Some(vec![]), ..package("private", vec![]) };
        let workspace = Workspace::of(vec![private, package("a", vec![])]).expect("is right");
        assert_eq!(names(&workspace.published), ["a"]);
        assert!(workspace.private.contains("private"));
    }

    #[test]
    fn all_crates_have_one_version() {
        let mut workspace =
            Workspace::of(vec![package("a", vec![]), package("b", vec![])]).expect("is right");
        assert_eq!(workspace.version().expect("is right"), "0.1.0");
        workspace.published[1].version = "0.2.0".into();
        assert!(workspace.version().expect_err("is refused").to_string().contains("0.1.0, 0.2.0"));
    }
}
