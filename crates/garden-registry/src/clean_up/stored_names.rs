use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::{Digest, Version};

use super::inventory::Inventory;

/// What of a registry's content can be recognized in any text: tags of the versions that we build, and digests. No text has
/// one of them by chance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredNames {
    versions: BTreeSet<String>,
    /// By their hexadecimal digits. Manifests and the configurations of images.
    digests: BTreeMap<String, Digest>,
}

impl StoredNames {
    /// Those of what is stored.
    pub fn of(inventory: &Inventory) -> Self {
        let mut names = Self::default();
        for repository in inventory.repositories.values() {
            let versions = repository.tags.keys().filter(|tag| Version::is_version(tag));
            names.versions.extend(versions.cloned());
            for (&digest, manifest) in &repository.manifests {
                let ids = std::iter::once(digest).chain(manifest.references.config);
                names.digests.extend(ids.map(|id| (id.hex(), id)));
            }
        }
        names
    }

    #[cfg(test)]
    pub(super) fn of_versions(versions: &[&str]) -> Self {
        let versions = versions.iter().map(|&version| version.to_owned()).collect();
        Self { versions, ..Self::default() }
    }

    /// Returns the versions that stand somewhere in `text`.
    pub(crate) fn versions_in<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        Version::find_in(text).filter(|version| self.versions.contains(*version))
    }

    /// Returns the digests that stand somewhere in `text`, with or without `sha256:`.
    pub(crate) fn digests_in(&self, text: &str) -> impl Iterator<Item = Digest> {
        let words = text.split(|letter| !matches!(letter, '0'..='9' | 'a'..='f'));
        words.filter_map(|word| self.digests.get(word).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::super::inventory::{References, Repository, StoredManifest, StoredTag};
    use super::*;

    const VERSION: &str = "v-0123456789abcdef0123";

    fn names() -> StoredNames {
        let (manifest, config) = (Digest::of(b"manifest"), Digest::of(b"config"));
        let pushed = jiff::Timestamp::UNIX_EPOCH;
        let tag = StoredTag { digest: manifest, pushed };
        let references = References { config: Some(config), ..References::default() };
        let repository = Repository {
            tags: [VERSION, "latest"].map(|name| (name.to_owned(), tag)).into(),
            manifests: [(manifest, StoredManifest { pushed, references })].into(),
            unreadable: Vec::new(),
        };
        StoredNames::of(&Inventory {
            repositories: [("shop/api".to_owned(), repository)].into(),
            ..Inventory::default()
        })
    }

    #[test]
    fn versions_are_found_wherever_they_stand() {
        for text in [
            VERSION.to_owned(),
            format!("--image=registry.example/shop/api:{VERSION}"),
            format!("{{\"tag\":\"{VERSION}\"}}"),
        ] {
            assert_eq!(names().versions_in(&text).collect::<Vec<_>>(), [VERSION], "{text}");
        }
        for text in ["latest", "v-0123456789abcdef0124"] {
            assert_eq!(names().versions_in(text).count(), 0, "{text}");
        }
    }

    #[test]
    fn digests_are_found_wherever_they_stand() {
        for id in [Digest::of(b"manifest"), Digest::of(b"config")] {
            for text in [id.to_string(), format!("IMAGE=a/b@{id};"), format!("x {} y", id.hex())] {
                assert_eq!(names().digests_in(&text).collect::<Vec<_>>(), [id], "{text}");
            }
        }
        assert_eq!(names().digests_in(&Digest::of(b"another").to_string()).count(), 0);
    }
}
