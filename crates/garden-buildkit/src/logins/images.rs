//! The images that a build has to do with. A daemon may ask for the logins of any registry; these say which ones it gets.

use garden_build_core::{BuildJob, ImageReference};
use garden_cluster::ImageSources;
use garden_registry::clouds::{DOCKER_HUB, DOCKER_HUB_API};

use crate::client::{DockerfileBuild, ImageExport, NamedContext};

/// The attribute of the frontend that names the image of another one, and the beginning of those that ask for attestations.
/// Source: `BuildKit`, `frontend/gateway/gateway.go` and `frontend/attestations/parse.go`.
const FRONTEND: &str = "source";
const ATTESTATION: &str = "attest:";

/// The images that a build has to do with, the one that is pushed first: caches, named contexts, what the Dockerfile begins with,
/// copies from or mounts, and the image of its frontend.
#[derive(Clone, Debug)]
pub struct BuildImages(Vec<ImageReference>);

impl BuildImages {
    /// Returns the images of `job`, for which a daemon is asked for what is `wanted`.
    pub fn of(job: &BuildJob, wanted: &DockerfileBuild) -> Self {
        let pushed = match &wanted.image {
            ImageExport::Pushed { names, .. } => names.as_slice(),
            ImageExport::None | ImageExport::Docker { .. } => &[],
        };
        let caches = wanted.cache_imports.iter().chain(&wanted.cache_exports);
        let caches = caches.filter_map(|cache| cache.attributes.get("ref").map(String::as_str));
        let contexts = wanted.contexts.values().filter_map(|context| match context {
            NamedContext::Image(image) => Some(image.as_str()),
            _ => None,
        });
        let attributes = wanted.attributes.iter().filter_map(|(name, value)| named_by(name, value));
        let dockerfile = job.context.dockerfile();
        let mut images: Vec<ImageReference> = pushed.iter().filter_map(|name| name.parse().ok()).collect();
        images.extend(dockerfile.images(&job.request).into_iter().chain(dockerfile.frontend(&job.request)));
        images.extend(caches.chain(contexts).chain(attributes).filter_map(|name| name.parse().ok()));
        Self(images)
    }

    /// Adds what the mirrors in `sources` call these images.
    #[must_use]
    pub(super) fn and_mirrors(mut self, sources: &ImageSources) -> Self {
        let mirrored: Vec<_> = self.0.iter().flat_map(|image| sources.of(image)).collect();
        for (_, image) in mirrored {
            if !self.0.contains(&image) {
                self.0.push(image);
            }
        }
        self
    }

    /// Returns whether one of them is at the registry `host`.
    pub fn are_at(&self, host: &str) -> bool {
        self.first_at(host).is_some()
    }

    /// Returns the first of them at `host`.
    pub(super) fn first_at(&self, host: &str) -> Option<&ImageReference> {
        self.0.iter().find(|image| is_registry(image.registry(), host))
    }

    /// Returns their repositories at `host`, and at last the whole registry.
    pub fn repositories(&self, host: &str) -> Vec<&str> {
        let at_host = self.0.iter().filter(|image| is_registry(image.registry(), host));
        at_host.map(ImageReference::repository).chain([""]).collect()
    }
}

/// The image that an attribute of the frontend names.
fn named_by<'a>(attribute: &str, value: &'a str) -> Option<&'a str> {
    if attribute == FRONTEND {
        return Some(value);
    }
    attribute
        .starts_with(ATTESTATION)
        .then(|| value.split(',').find_map(|part| part.strip_prefix("generator=")))?
}

/// The daemon calls Docker Hub by the name of its server. Source: `BuildKit`, `util/resolver/authorizer.go`.
fn is_registry(registry: &str, host: &str) -> bool {
    registry == host || (registry == DOCKER_HUB && host == DOCKER_HUB_API)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use garden_build_core::BuildRequest;
    use garden_build_core::context::Context;

    use super::*;
    use crate::client::CacheEntry;

    fn images(names: &[&str]) -> BuildImages {
        BuildImages(names.iter().map(|name| name.parse().expect("a reference")).collect())
    }

    #[test]
    fn the_image_s_own_repository_is_looked_up_before_those_of_base_images() {
        let images = images(&["r.example/team/api:1", "busybox:1", "r.example/base/os:2"]);
        assert_eq!(images.repositories("r.example"), ["team/api", "base/os", ""]);
        assert_eq!(images.repositories("registry-1.docker.io"), ["library/busybox", ""]);
        assert_eq!(images.repositories("other.example"), [""]);
        assert!(images.are_at("r.example") && images.are_at("registry-1.docker.io"));
        assert!(!images.are_at("other.example") && !images.are_at("r.example:5000"));
    }

    #[test]
    fn every_image_that_a_build_names_is_one_of_them_and_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let dockerfile = "# syntax=syntax.example/frontend:1\nFROM base.example/os\nCOPY --from=files.example/a /a /a\n\
            RUN --mount=from=tools.example/t true\n# FROM comment.example/x\n";
        std::fs::write(directory.path().join("Dockerfile"), dockerfile).expect("written");
        let request = BuildRequest::new("api", directory.path());
        let context = Context::scan(&request, &|| false).expect("a context");
        let destination: ImageReference = "push.example/team/api:1".parse().expect("a reference");
        let job = BuildJob::new("id", request, context, destination.clone());
        let cache = |name: &str| CacheEntry {
            kind: "registry".to_owned(),
            attributes: BTreeMap::from([("ref".to_owned(), name.to_owned())]),
        };
        let named = |name: &str| NamedContext::Image(name.to_owned());
        let wanted = DockerfileBuild {
            image: ImageExport::Pushed {
                names: vec![destination.to_string(), "inline.example/a:c".to_owned()],
                insecure: false,
                compression_level: None,
            },
            cache_imports: vec![cache("import.example/a:c")],
            cache_exports: vec![cache("export.example/a:c")],
            contexts: BTreeMap::from([("c".to_owned(), named("context.example/a:1"))]),
            attributes: BTreeMap::from([
                ("source".to_owned(), "source.example/f:1".to_owned()),
                ("attest:sbom".to_owned(), "generator=scanner.example/s:1".to_owned()),
                ("hostname".to_owned(), "host.example/a".to_owned()),
            ]),
            ..DockerfileBuild::default()
        };
        let sources = ImageSources::default().mirror("base.example", "mirror.example/m");
        let images = BuildImages::of(&job, &wanted).and_mirrors(&sources);
        for host in [
            "push", "syntax", "base", "files", "tools", "inline", "import", "export", "context", "source",
            "scanner", "mirror",
        ] {
            assert!(images.are_at(&format!("{host}.example")), "{host}");
        }
        for host in ["comment.example", "host.example", "registry-1.docker.io", "example"] {
            assert!(!images.are_at(host), "{host}");
        }
        assert_eq!(images.repositories("mirror.example"), ["m/os", ""]);
        let in_docker =
            DockerfileBuild { image: ImageExport::Docker { names: vec![destination.to_string()] }, ..wanted };
        assert!(!BuildImages::of(&job, &in_docker).are_at("push.example"), "Docker pushes it");
    }
}
