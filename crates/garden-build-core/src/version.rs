use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::context::{Context, Tree};
use crate::request::BuildRequest;
use crate::{Digest, FramedHasher, ImageFlag, NamedContext};

/// Hexadecimal digits of a version: 80 bits, so that a clash within a project is out of reach.
/// (Garden's versions have 10 digits, 40 bits.)
const DIGITS: usize = 20;

const PREFIX: &str = "v-";

/// The tag of an image: `v-` and 20 hexadecimal digits that stand for everything that went into it.
///
/// Covers the context's files, those of named contexts, the Dockerfile, the target stage, build
/// arguments, labels, extra hosts, platforms, and those flags of the builder that can change the image.
/// Does not cover secrets, nor where on the machine the context lies, nor by which patterns its files
/// were chosen, nor how the build is run. The same files have another version on Windows, where every
/// file's executable bit is taken as set.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Version(String);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == DIGITS);
        match digits {
            Some(digits) if digits.bytes().all(is_digit) => Ok(Self(text)),
            _ => Err(de::Error::custom("not a version: expected `v-` and 20 lower-case hexadecimal digits")),
        }
    }
}

impl Version {
    /// Derives the version of what `request` builds from `context` and from the directories among its
    /// named contexts, with the builder's `image_flags`.
    pub fn derive(
        request: &BuildRequest,
        image_flags: &[ImageFlag],
        context: &Context,
        named_contexts: &BTreeMap<String, Tree>,
    ) -> Self {
        let (manifest, dockerfile) = (context.manifest().digest(), context.dockerfile().contents());
        let named = named_contexts.iter().map(|(name, tree)| (name.as_str(), tree.manifest().digest()));
        Self::of_digests(request, image_flags, manifest, dockerfile, &named.collect::<Vec<_>>())
    }

    /// Every field goes into the hash with its name and length, so no two different inputs share
    /// a serialisation.
    fn of_digests(
        request: &BuildRequest,
        image_flags: &[ImageFlag],
        manifest: Digest,
        dockerfile: &[u8],
        named_contexts: &[(&str, Digest)],
    ) -> Self {
        let mut hasher = FramedHasher::new("garden-build version 1");
        hasher.field("manifest", manifest.as_bytes());
        hasher.field("dockerfile", dockerfile);
        if let Some(target) = &request.target {
            hasher.field("target", target.as_bytes());
        }
        for (name, value) in &request.build_args {
            hasher.field("argument", name.as_bytes());
            hasher.field("value", value.as_bytes());
        }
        for (name, value) in &request.labels {
            hasher.field("label", name.as_bytes());
            hasher.field("value", value.as_bytes());
        }
        for (host, address) in &request.extra_hosts {
            hasher.field("host", host.as_bytes());
            hasher.field("address", address.as_bytes());
        }
        for (name, context) in &request.contexts {
            if let NamedContext::Image(image) = context {
                hasher.field("named image", name.as_bytes());
                hasher.field("reference", image.as_bytes());
            }
        }
        for (name, digest) in named_contexts {
            hasher.field("named context", name.as_bytes());
            hasher.field("manifest", digest.as_bytes());
        }
        for word in image_flags.iter().flat_map(|flag| &flag.words) {
            hasher.field("flag", word.as_bytes());
        }
        for platform in &request.platforms {
            hasher.field("platform", platform.as_bytes());
        }
        let hex = hasher.finish().hex();
        Self(format!("{PREFIX}{}", &hex[..DIGITS]))
    }

    /// Returns whether `tag` has the form of a version, which tags that others choose hardly ever have.
    pub fn is_version(tag: &str) -> bool {
        tag.strip_prefix(PREFIX).is_some_and(|digits| {
            digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    }

    /// Returns what has the form of a version anywhere in `text`.
    pub fn find_in(text: &str) -> impl Iterator<Item = &str> {
        let candidates = text.match_indices(PREFIX);
        let candidates = candidates.filter_map(|(at, _)| text.get(at..at + PREFIX.len() + DIGITS));
        candidates.filter(|candidate| Self::is_version(candidate))
    }

    /// Returns the version as it stands in the image's tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(request: &BuildRequest) -> Version {
        Version::of_digests(request, &[], Digest::of(b"files"), b"FROM scratch", &[])
    }

    #[test]
    fn has_the_form_of_a_tag() {
        let version = version(&BuildRequest::new("api", "."));
        let digits = version.as_str().strip_prefix("v-").expect("prefix");
        assert_eq!(digits.len(), DIGITS);
        assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn is_told_from_the_tags_of_others() {
        assert!(Version::is_version(version(&BuildRequest::new("api", ".")).as_str()));
        for tag in ["latest", "v-0123456789", "v-0123456789abcdef01234", "v-0123456789ABCDEF0123", "v1", ""] {
            assert!(!Version::is_version(tag), "{tag}");
        }
    }

    #[test]
    fn is_found_in_any_text() {
        let found = |text: &str| Version::find_in(text).map(str::to_owned).collect::<Vec<_>>();
        let version = "v-0123456789abcdef0123";
        for text in [
            version,
            "a:v-0123456789abcdef0123-b",
            "v-v-v-0123456789abcdef0123v-",
            "äv-0123456789abcdef0123ö",
        ] {
            assert_eq!(found(text), [version], "{text}");
        }
        assert_eq!(found(&format!("{version} {version}")), [version, version]);
        for text in ["", "v-", "v-0123456789abcdef012", "v-0123456789abcdef012é", "v-0123456789ABCDEF0123"] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn differs_when_any_input_differs() {
        let base = || BuildRequest::new("api", ".");
        let versions = [
            version(&base()),
            version(&base().target("a")),
            version(&base().build_arg("a", "bc")),
            version(&base().build_arg("ab", "c")),
            Version::of_digests(
                &base(),
                &[ImageFlag::new(["a"])],
                Digest::of(b"files"),
                b"FROM scratch",
                &[],
            ),
            version(&base().platform("linux/arm64")),
            Version::of_digests(&base(), &[], Digest::of(b"other files"), b"FROM scratch", &[]),
            Version::of_digests(&base(), &[], Digest::of(b"files"), b"FROM busybox", &[]),
            Version::of_digests(
                &base(),
                &[],
                Digest::of(b"files"),
                b"FROM scratch",
                &[("a", Digest::of(b"x"))],
            ),
            Version::of_digests(
                &base(),
                &[],
                Digest::of(b"files"),
                b"FROM scratch",
                &[("b", Digest::of(b"x"))],
            ),
            Version::of_digests(
                &base(),
                &[],
                Digest::of(b"files"),
                b"FROM scratch",
                &[("a", Digest::of(b"y"))],
            ),
            version(&base().label("a", "b")),
            version(&base().extra_host("a", "b")),
            version(&base().context("a", NamedContext::Image("b".to_owned()))),
        ];
        for (index, version) in versions.iter().enumerate() {
            assert!(!versions[..index].contains(version), "{index} is not unique: {version}");
        }
    }

    /// Images that exist are found by their version, so those of earlier releases have to stay as they were.
    #[test]
    fn flags_count_word_by_word_and_as_they_always_did() {
        let version = |flags: &[ImageFlag]| {
            Version::of_digests(
                &BuildRequest::new("api", "."),
                flags,
                Digest::of(b"files"),
                b"FROM scratch",
                &[],
            )
        };
        let expected = "v-cf6956d7e5150bbdb8a0";
        let flags = [["--opt=shm-size=1g"].as_slice(), &["--label", "a=b"], &["--reproducible"]];
        assert_eq!(version(&flags.map(|words| ImageFlag::new(words.iter().copied()))).as_str(), expected);
        let reading_no_more = flags.map(|words| ImageFlag::reading_no_more(words.iter().copied()));
        assert_eq!(version(&reading_no_more).as_str(), expected);
    }

    #[test]
    fn does_not_depend_on_secrets_or_on_how_the_build_is_run() {
        let request = BuildRequest::new("api", ".").secret("a", "s3cret").ssh_agent("default", "/agent");
        assert_eq!(
            version(&request.shown_as("web/").force(true).no_cache(true)),
            version(&BuildRequest::new("api", "."))
        );
    }

    #[test]
    fn does_not_depend_on_where_the_context_lies_or_in_which_order_arguments_were_given() {
        let one = BuildRequest::new("api", "/here").build_arg("A", "1").build_arg("B", "2");
        let other = BuildRequest::new("web", "/there").build_arg("B", "2").build_arg("A", "1");
        assert_eq!(version(&one), version(&other));
    }
}
