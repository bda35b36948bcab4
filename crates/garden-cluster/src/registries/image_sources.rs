//! Where builders look for the images that they begin with.
//!
//! Why: docs/decisions/64-mirrors-are-places.md

use garden_build_core::ImageReference;

use super::access::RegistryAccess;

/// Where builders look for images: how they reach registries, and which mirrors they ask before a registry itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImageSources {
    registries: Vec<RegistryAccess>,
    mirrors: Vec<Mirror>,
    only_mirrors: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Mirror {
    of: String,
    /// A host, perhaps with a port and a path that all repositories begin with.
    at: String,
}

impl ImageSources {
    /// Reaches `registries` as they say, and asks their mirrors before them. All others speak ordinary TLS.
    pub fn new(registries: Vec<RegistryAccess>) -> Self {
        let mirrors = registries
            .iter()
            .filter_map(|registry| Some(Mirror { of: registry.host.clone(), at: registry.mirror.clone()? }));
        Self { mirrors: mirrors.collect(), registries, only_mirrors: false }
    }

    /// Asks the mirror `at`, a host, perhaps with a port and a path, after those before it, and before the registry `of`.
    pub fn mirror(mut self, of: impl Into<String>, at: impl Into<String>) -> Self {
        self.mirrors.push(Mirror { of: of.into(), at: at.into() });
        self
    }

    /// Does not ask registries themselves that have mirrors.
    pub fn only_mirrors(mut self, only_mirrors: bool) -> Self {
        self.only_mirrors = only_mirrors;
        self
    }

    /// Returns where `image` is looked for, one after the other: how a registry is reached, and what the image is called
    /// there. Each has credentials of its own: those of the registry itself are not for mirrors.
    pub fn of(&self, image: &ImageReference) -> Vec<(RegistryAccess, ImageReference)> {
        let mirrors = self.mirrors.iter().filter(|mirror| mirror.of == image.registry());
        let mut sources: Vec<_> = mirrors.filter_map(|mirror| mirror.source(image)).collect();
        if sources.is_empty() || !self.only_mirrors {
            sources.push(image.clone());
        }
        sources.into_iter().map(|image| (self.access(image.registry()), image)).collect()
    }

    fn access(&self, host: &str) -> RegistryAccess {
        let known = self.registries.iter().find(|registry| registry.host == host);
        known.cloned().unwrap_or_else(|| RegistryAccess::ordinary(host))
    }
}

impl Mirror {
    /// Returns what the mirror calls `image`; `None` if it is nothing that images can be called.
    fn source(&self, image: &ImageReference) -> Option<ImageReference> {
        let (host, path) = self.at.split_once('/').unwrap_or((&self.at, ""));
        let name = image.to_string();
        let rest = name.strip_prefix(image.registry())?;
        let path = if path.is_empty() { String::new() } else { format!("/{}", path.trim_matches('/')) };
        let source: ImageReference = format!("{host}{path}{rest}").parse().ok()?;
        (source.registry() == host).then_some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sources: &ImageSources, image: &str) -> Vec<String> {
        let image = image.parse().expect("a reference");
        sources.of(&image).into_iter().map(|(_, image)| image.to_string()).collect()
    }

    #[test]
    fn mirrors_are_asked_in_their_order_and_the_registry_at_last() {
        let sources = ImageSources::default()
            .mirror("docker.io", "one.example:5000")
            .mirror("other.example", "nowhere.example")
            .mirror("docker.io", "two.example/hub/");
        assert_eq!(
            names(&sources, "busybox:1"),
            [
                "one.example:5000/library/busybox:1",
                "two.example/hub/library/busybox:1",
                "docker.io/library/busybox:1",
            ]
        );
        let digest = format!("team/app@sha256:{}", "0".repeat(64));
        assert_eq!(names(&sources, &digest)[1], format!("two.example/hub/{digest}"));
        assert_eq!(names(&sources, "third.example/app:1"), ["third.example/app:1"]);
    }

    #[test]
    fn a_registry_without_a_usable_mirror_is_always_asked() {
        let sources = ImageSources::default().mirror("docker.io", "one.example").only_mirrors(true);
        assert_eq!(names(&sources, "busybox:1"), ["one.example/library/busybox:1"]);
        assert_eq!(names(&sources, "third.example/app:1"), ["third.example/app:1"]);
        // Docker's grammar takes a word without dot and port for a user of Docker Hub.
        let sources = ImageSources::default().mirror("docker.io", "mirror").only_mirrors(true);
        assert_eq!(names(&sources, "busybox:1"), ["docker.io/library/busybox:1"]);
    }

    #[test]
    fn a_mirror_is_reached_as_the_registry_that_it_is() {
        let access = |host: &str, insecure, mirror: Option<&str>| RegistryAccess {
            insecure,
            mirror: mirror.map(str::to_owned),
            ..RegistryAccess::ordinary(host)
        };
        let sources = ImageSources::new(vec![
            access("docker.io", false, Some("mirror.example:5000/hub")),
            access("mirror.example:5000", true, None),
        ]);
        let found = sources.of(&"busybox:1".parse().expect("a reference"));
        let found: Vec<_> =
            found.iter().map(|(access, image)| (access.insecure, image.registry().to_owned())).collect();
        assert_eq!(found, [(true, "mirror.example:5000".to_owned()), (false, "docker.io".to_owned())]);
    }
}
