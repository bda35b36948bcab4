use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::{Digest, ImageReference};

/// The images that something may still run, and what that is.
///
/// An image counts as used whatever the registry is called in its name: nodes, builders and clients know
/// the same registry under different names. A digest counts in every repository. Both keep more than need be,
/// never less.
///
/// ```
/// use garden_registry::clean_up::ImagesInUse;
///
/// let mut in_use = ImagesInUse::new();
/// in_use.add("127.0.0.1:5000/my-project/api:v-0123456789abcdef0123", "CronJob my-project/nightly");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImagesInUse {
    by_tag: BTreeMap<(String, String), BTreeSet<String>>,
    by_digest: BTreeMap<Digest, BTreeSet<String>>,
}

impl ImagesInUse {
    /// Nothing is in use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what `user` calls `image`: a reference, an id as container runtimes report it, or both in one. What
    /// is neither names no image that could be pulled, and counts for nothing.
    ///
    /// Source: Kubernetes, `ContainerStatus.imageID`: `docker-pullable://NAME@DIGEST` and `docker://DIGEST` of
    /// older runtimes, a digest or `NAME@DIGEST` of containerd, and CRI-O's digest without `sha256:`.
    pub fn add(&mut self, image: &str, user: impl Into<String>) {
        let (image, user) = (image.trim(), user.into());
        let image = image.split_once("://").map_or(image, |(_, name)| name);
        let digest = image.rsplit_once('@').map_or(image, |(_, digest)| digest);
        for text in [digest, &format!("sha256:{digest}")] {
            if let Ok(digest) = text.parse() {
                self.by_digest.entry(digest).or_default().insert(user.clone());
            }
        }
        let Ok(reference) = image.parse::<ImageReference>() else { return };
        let Some(tag) = reference.tag() else { return };
        let repository = reference.repository();
        // Docker's grammar puts this before a name that has no path, which in our registry is none of Docker Hub's.
        let without_library = repository.strip_prefix("library/");
        for repository in [Some(repository), without_library].into_iter().flatten() {
            let name = (repository.to_owned(), tag.to_owned());
            self.by_tag.entry(name).or_default().insert(user.clone());
        }
    }

    /// Returns what uses the tag.
    pub(crate) fn users_of_tag(&self, repository: &str, tag: &str) -> impl Iterator<Item = &str> {
        let users = self.by_tag.get(&(repository.to_owned(), tag.to_owned()));
        users.into_iter().flatten().map(String::as_str)
    }

    /// Returns what uses the manifest, or the image configuration, with this digest.
    pub(crate) fn users_of_digest(&self, digest: Digest) -> impl Iterator<Item = &str> {
        self.by_digest.get(&digest).into_iter().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(image: &str, repository: &str, tag: &str) -> usize {
        let mut in_use = ImagesInUse::new();
        in_use.add(image, "Pod a/b");
        in_use.users_of_tag(repository, tag).count()
    }

    fn uses_digest(image: &str) -> bool {
        let mut in_use = ImagesInUse::new();
        in_use.add(image, "Pod a/b");
        in_use.users_of_digest(Digest::of(b"image")).count() == 1
    }

    #[test]
    fn the_registry_may_go_by_any_name() {
        for host in
            ["127.0.0.1:5000", "localhost:5000", "garden-docker-registry.garden-system.svc:5000", "a.b"]
        {
            assert_eq!(users(&format!("{host}/my-project/api:v-1"), "my-project/api", "v-1"), 1, "{host}");
        }
        assert_eq!(users("my-project/api:v-1", "my-project/api", "v-1"), 1);
        assert_eq!(users("api:v-1", "api", "v-1"), 1);
    }

    #[test]
    fn other_tags_and_repositories_are_not_used() {
        assert_eq!(users("localhost:5000/my-project/api:v-1", "my-project/api", "v-2"), 0);
        assert_eq!(users("localhost:5000/my-project/api:v-1", "other/api", "v-1"), 0);
        assert_eq!(users("localhost:5000/my-project/api", "my-project/api", "latest"), 1);
    }

    #[test]
    fn digests_are_found_in_every_form_that_runtimes_report() {
        let digest = Digest::of(b"image");
        for image in [
            format!("{digest}"),
            digest.hex(),
            format!("docker://{digest}"),
            format!("docker-pullable://localhost:5000/a/b@{digest}"),
            format!("localhost:5000/a/b@{digest}"),
            format!("localhost:5000/a/b:v-1@{digest}"),
        ] {
            assert!(uses_digest(&image), "{image}");
        }
        assert_eq!(users(&format!("localhost:5000/a/b:v-1@{digest}"), "a/b", "v-1"), 1);
    }

    #[test]
    fn what_names_no_image_counts_for_nothing() {
        for image in ["", " ", "Not A Name", "localhost:5000/UPPER:v-1", "sha256:short"] {
            assert!(!uses_digest(image), "{image}");
        }
    }
}
