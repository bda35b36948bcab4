//! Which images a registry's host stands for.

use garden_build_core::ImageReference;
use garden_registry::clouds::{DOCKER_HUB, DOCKER_HUB_API};

/// Returns the repositories at `host` that a build has to do with, and at last the whole registry.
pub fn repositories<'a>(host: &str, images: &'a [ImageReference]) -> Vec<&'a str> {
    let at_host = images.iter().filter(|image| is_registry(image.registry(), host));
    at_host.map(ImageReference::repository).chain([""]).collect()
}

/// The daemon calls Docker Hub by the name of its server. Source: `BuildKit`, `util/resolver/authorizer.go`.
pub(super) fn is_registry(registry: &str, host: &str) -> bool {
    registry == host || (registry == DOCKER_HUB && host == DOCKER_HUB_API)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_s_own_repository_is_looked_up_before_those_of_base_images() {
        let image = |text: &str| text.parse::<ImageReference>().expect("a reference");
        let images = [image("r.example/team/api:1"), image("busybox:1"), image("r.example/base/os:2")];
        assert_eq!(repositories("r.example", &images), ["team/api", "base/os", ""]);
        assert_eq!(repositories("registry-1.docker.io", &images), ["library/busybox", ""]);
        assert_eq!(repositories("other.example", &images), [""]);
    }
}
