//! File names that are not UTF-8, and which Docker takes them.

use garden_build_core::context::{Manifest, PathBytes, Tree};
use garden_build_core::{BuildJob, Error, ErrorKind, Result};

/// The first Docker whose `BuildKit` (0.17) refuses names that are not UTF-8. Its messages check them, and the codec of
/// `BuildKit`'s own that does not is used by `buildkitd`, and not by Docker. Source: Docker 27.4 to 29, which do not link
/// `BuildKit`'s `util/grpcutil/encoding/proto`; docker/buildx issue 2850.
const REFUSES: (u32, u32) = (27, 4);

/// Refuses what the `BuildKit` in this version of Docker cannot be sent.
pub(super) fn check(job: &BuildJob, version: &str) -> Result<()> {
    if takes_any_name(version) {
        return Ok(());
    }
    let trees = job.named_contexts.values().map(Tree::manifest);
    let mut manifests = std::iter::once(job.context.manifest()).chain(trees);
    manifests.find_map(Manifest::first_not_utf8).map_or(Ok(()), |path| Err(refusal(&path, version)))
}

fn refusal(path: &PathBytes, version: &str) -> Error {
    let message = format!(
        "`{path}` has a name that is not UTF-8, or leads to one: the BuildKit in Docker {version} takes no such name"
    );
    let hint = format!(
        "rename it, or add `{}` as the last line to .dockerignore; kaniko, cluster-buildkit and Docker's classic builder \
         (DOCKER_BUILDKIT=0, or `cluster-docker` without `enableBuildKit`) take it as it is",
        path.ignore_pattern()
    );
    Error::new(ErrorKind::Unsupported, message).with_hint(hint)
}

/// Whether this version takes names that are not UTF-8, or may: one that does not tell is asked to.
fn takes_any_name(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < REFUSES,
        _ => true,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;

    use garden_build_core::BuildRequest;
    use garden_build_core::context::Context;

    use super::*;

    fn job(directory: &tempfile::TempDir) -> BuildJob {
        fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").expect("written");
        let request = BuildRequest::new("api", directory.path());
        let context = Context::scan(&request, &|| false).expect("a context");
        BuildJob::new("id", request, context, "r.example/api:1".parse().expect("a name"))
    }

    #[test]
    fn names_that_are_not_utf8_are_refused_where_they_would_fail() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(OsStr::from_bytes(b"caf\xe9")), "").expect("written");
        let job = job(&directory);
        for version in ["23.0.0", "27.3.1", "20.10.24+dfsg1", "dev"] {
            assert!(check(&job, version).is_ok(), "{version}");
        }
        for version in ["27.4.0", "28.5.2", "27.4.0-rc.1", "29.0.1"] {
            let error = check(&job, version).expect_err(version);
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let expected = format!(
                r"`caf\xe9` has a name that is not UTF-8, or leads to one: the BuildKit in Docker {version}"
            );
            assert!(error.message().starts_with(&expected), "{error}");
            assert!(
                error.hint().is_some_and(|hint| hint.contains("add `caf?` as the last line")),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_named_context_counts_as_well() {
        let (directory, library) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let mut job = job(&directory);
        assert!(check(&job, "28.5.2").is_ok());
        std::os::unix::fs::symlink(OsStr::from_bytes(b"\xff"), library.path().join("link")).expect("a link");
        let tree = Tree::scan(library.path(), &|| false).expect("a tree");
        job.named_contexts.insert("lib".to_owned(), tree);
        let error = check(&job, "28.5.2").expect_err("a link to what is not UTF-8");
        assert!(error.message().starts_with("`link` has a name"), "{error}");
    }
}
