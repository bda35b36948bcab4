use std::collections::BTreeSet;
use std::time::Duration;

use garden_build_core::{Digest, Version};
use jiff::{SignedDuration, Timestamp};

/// What a clean-up keeps besides images in use.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CleanUpRules {
    /// Images pushed less than this long ago are kept: somebody may be about to use them. Default: two hours.
    pub keep_younger_than: Duration,
    /// Build caches pushed longer ago than this are deleted. Default: `None`, which keeps all.
    pub caches_older_than: Option<Duration>,
    /// Tags of build caches, besides those that start with `_buildcache`. Default: none.
    pub cache_tags: BTreeSet<String>,
}

impl Default for CleanUpRules {
    fn default() -> Self {
        Self {
            keep_younger_than: Duration::from_secs(2 * 60 * 60),
            caches_older_than: None,
            cache_tags: BTreeSet::new(),
        }
    }
}

/// Whose a tag is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TagKind {
    /// An image that we have built.
    Version,
    /// A build cache of ours.
    Cache,
    /// What somebody says about the manifest with this digest.
    About(Digest),
    /// Somebody else's.
    Foreign,
}

impl CleanUpRules {
    pub(crate) fn kind_of(&self, repository: &str, tag: &str) -> TagKind {
        if Version::is_version(tag) {
            TagKind::Version
        } else if tag.starts_with("_buildcache")
            || self.cache_tags.contains(tag)
            || is_kaniko_cache(repository, tag)
        {
            TagKind::Cache
        } else {
            subject_of(tag).map_or(TagKind::Foreign, TagKind::About)
        }
    }

    /// Whether something pushed at `pushed` may still be waiting for its use at `now`. A clock that was set
    /// back makes things from the future, whose age nobody knows.
    pub(crate) fn is_young(&self, pushed: Timestamp, now: Timestamp) -> bool {
        pushed > now || is_younger(pushed, now, self.keep_younger_than)
    }

    /// Whether a build cache pushed at `pushed` is kept at `now`.
    pub(crate) fn keeps_cache(&self, pushed: Timestamp, now: Timestamp) -> bool {
        self.caches_older_than.is_none_or(|limit| is_younger(pushed, now, limit))
    }
}

fn is_younger(pushed: Timestamp, now: Timestamp, limit: Duration) -> bool {
    now.duration_since(pushed) < SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
}

/// Kaniko keeps layers beside the image, under keys that are digests.
///
/// Source: kaniko, `pkg/cache/cache.go`, function `Destination`.
fn is_kaniko_cache(repository: &str, tag: &str) -> bool {
    repository.ends_with("/cache") && digest_of(tag).is_some()
}

/// Registries that cannot be asked for what refers to a manifest have it under a tag made of its digest:
/// `sha256-…`, with `.sig`, `.att` or `.sbom` after it if it is cosign's.
///
/// Source: OCI distribution specification, section "Referrers Tag Schema"; cosign, `SIGNATURE_SPEC.md`.
fn subject_of(tag: &str) -> Option<Digest> {
    let name = tag.strip_prefix("sha256-")?;
    digest_of(name.split_once('.').map_or(name, |(hex, _)| hex))
}

fn digest_of(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_tell_whose_they_are() {
        let mut rules = CleanUpRules::default();
        rules.cache_tags.insert("layers".to_owned());
        let digest = Digest::of(b"subject");
        let hex = digest.hex();
        for (repository, tag, kind) in [
            ("my/api", "v-0123456789abcdef0123", TagKind::Version),
            // An image may be called `cache`.
            ("my/cache", "v-0123456789abcdef0123", TagKind::Version),
            ("my/api", "_buildcache", TagKind::Cache),
            ("my/api", "_buildcache-main", TagKind::Cache),
            ("my/api", "layers", TagKind::Cache),
            ("my/api/cache", &hex, TagKind::Cache),
            ("my/api", &hex, TagKind::Foreign),
            ("my/api/cache", "latest", TagKind::Foreign),
            ("my/api", &format!("sha256-{hex}"), TagKind::About(digest)),
            ("my/api", &format!("sha256-{hex}.sig"), TagKind::About(digest)),
            ("my/api", "sha256-0123", TagKind::Foreign),
            ("my/api", "v-0123456789", TagKind::Foreign),
            ("my/api", "latest", TagKind::Foreign),
        ] {
            assert_eq!(rules.kind_of(repository, tag), kind, "{repository}:{tag}");
        }
    }

    #[test]
    fn the_window_ends_to_the_second_and_what_is_from_the_future_is_young() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let mut rules =
            CleanUpRules { keep_younger_than: Duration::from_secs(10), ..CleanUpRules::default() };
        assert!(rules.is_young(at(91), at(100)) && !rules.is_young(at(90), at(100)));
        rules.keep_younger_than = Duration::ZERO;
        assert!(!rules.is_young(at(100), at(100)) && rules.is_young(at(101), at(100)));
        rules.keep_younger_than = Duration::MAX;
        assert!(rules.is_young(Timestamp::MIN, Timestamp::MAX));
    }
}
