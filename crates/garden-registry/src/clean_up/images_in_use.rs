use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::{Digest, ImageReference};

use super::stored_names::StoredNames;

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
    tags: BTreeMap<(String, String), BTreeSet<String>>,
    digests: BTreeMap<Digest, BTreeSet<String>>,
    /// The users of versions that stand somewhere, in whatever repository they are.
    versions: BTreeMap<String, BTreeSet<String>>,
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
                self.digests.entry(digest).or_default().insert(user.clone());
            }
        }
        let Ok(reference) = image.parse::<ImageReference>() else { return };
        let Some(tag) = reference.tag() else { return };
        let repository = reference.repository();
        // Docker's grammar puts this before a name that has no path, which in our registry is none of Docker Hub's.
        let without_library = repository.strip_prefix("library/");
        for repository in [Some(repository), without_library].into_iter().flatten() {
            let name = (repository.to_owned(), tag.to_owned());
            self.tags.entry(name).or_default().insert(user.clone());
        }
    }

    /// Adds what `user` says anywhere in `text` of what is `stored`: an argument, a variable, a chart's value.
    ///
    /// If the text as a whole is the name of an image, that one counts. Otherwise nobody knows which repository goes with a
    /// version, so it counts in all.
    pub fn add_text(&mut self, text: &str, user: &str, stored: &StoredNames) {
        let named = text.trim().parse::<ImageReference>().ok();
        for version in stored.versions_in(text) {
            if named.as_ref().is_some_and(|named| named.tag() == Some(version)) {
                self.add(text, user);
            } else {
                self.versions.entry(version.to_owned()).or_default().insert(user.to_owned());
            }
        }
        for digest in stored.digests_in(text) {
            self.digests.entry(digest).or_default().insert(user.to_owned());
        }
    }

    /// Adds what somebody else has found.
    pub fn extend(&mut self, other: Self) {
        fn add<K: Ord>(to: &mut BTreeMap<K, BTreeSet<String>>, from: BTreeMap<K, BTreeSet<String>>) {
            for (name, users) in from {
                to.entry(name).or_default().extend(users);
            }
        }
        add(&mut self.tags, other.tags);
        add(&mut self.digests, other.digests);
        add(&mut self.versions, other.versions);
    }

    /// Returns what uses the tag.
    pub(crate) fn users_of_tag(&self, repository: &str, tag: &str) -> impl Iterator<Item = &str> {
        let of_tag = self.tags.get(&(repository.to_owned(), tag.to_owned()));
        let of_version = self.versions.get(tag);
        of_tag.into_iter().chain(of_version).flatten().map(String::as_str)
    }

    /// Returns what uses the manifest, or the image configuration, with this digest.
    pub(crate) fn users_of_digest(&self, digest: Digest) -> impl Iterator<Item = &str> {
        self.digests.get(&digest).into_iter().flatten().map(String::as_str)
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
    fn a_version_without_its_repository_counts_in_all_and_a_whole_name_in_its_own() {
        let tag = "v-0123456789abcdef0123";
        let stored = StoredNames::of_versions(&[tag]);
        for (text, expected) in [
            (tag.to_owned(), [1, 1]),
            (format!("--image=localhost:5000/shop/api:{tag}"), [1, 1]),
            (format!(" localhost:5000/shop/api:{tag} "), [1, 0]),
            ("localhost:5000/shop/api:latest".to_owned(), [0, 0]),
        ] {
            let mut in_use = ImagesInUse::new();
            in_use.add_text(&text, "ConfigMap a/b", &stored);
            let users = ["shop/api", "shop/web"].map(|name| in_use.users_of_tag(name, tag).count());
            assert_eq!(users, expected, "{text}");
        }
    }

    #[test]
    fn what_names_no_image_counts_for_nothing() {
        for image in ["", " ", "Not A Name", "localhost:5000/UPPER:v-1", "sha256:short"] {
            assert!(!uses_digest(image), "{image}");
        }
    }
}
