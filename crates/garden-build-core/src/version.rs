use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::Digest;
use crate::request::BuildRequest;

/// Hexadecimal digits of a version: 80 bits, so that a clash within a project is out of reach.
/// (Garden's versions have 10 digits, 40 bits.)
const DIGITS: usize = 20;

/// The tag of an image: `v-` and 20 hexadecimal digits that stand for everything that went into it.
///
/// Covers the context's files, the Dockerfile, the target stage, build arguments, platforms, and
/// those flags of the builder that can change the image. Does not cover secrets, nor where on the
/// machine the context lies, nor how the build is run. The same files have another version on
/// Windows, where every file's executable bit is taken as set.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Version(String);

impl Version {
    /// Derives the version of what `request` builds from the context with digest `manifest` and
    /// the text of `dockerfile`, with the builder's `image_flags`.
    ///
    /// Every field goes into the hash with its name and length, so no two different inputs share
    /// a serialisation.
    pub fn derive(
        request: &BuildRequest,
        image_flags: &[String],
        manifest: Digest,
        dockerfile: &[u8],
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
        for flag in image_flags {
            hasher.field("flag", flag.as_bytes());
        }
        for platform in &request.platforms {
            hasher.field("platform", platform.as_bytes());
        }
        let hex = hasher.finish().hex();
        Self(format!("v-{}", &hex[..DIGITS]))
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

/// A SHA-256 over named fields, each framed by its length, so that moving a byte from the end of
/// one field to the start of the next changes the digest.
#[derive(Debug)]
pub(crate) struct FramedHasher(Sha256);

impl FramedHasher {
    /// Starts a hash in its own domain, so that hashes of different things never coincide.
    pub(crate) fn new(domain: &str) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.frame(domain.as_bytes());
        hasher
    }

    /// Adds one field.
    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        self.frame(name.as_bytes());
        self.frame(value);
    }

    /// Returns the digest of all fields.
    pub(crate) fn finish(self) -> Digest {
        Digest::from_sha256(self.0.finalize().into())
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(request: &BuildRequest) -> Version {
        Version::derive(request, &[], Digest::of(b"files"), b"FROM scratch")
    }

    #[test]
    fn has_the_form_of_a_tag() {
        let version = version(&BuildRequest::new("api", "."));
        let digits = version.as_str().strip_prefix("v-").expect("prefix");
        assert_eq!(digits.len(), DIGITS);
        assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn differs_when_any_input_differs() {
        let base = || BuildRequest::new("api", ".");
        let versions = [
            version(&base()),
            version(&base().target("a")),
            version(&base().build_arg("a", "bc")),
            version(&base().build_arg("ab", "c")),
            Version::derive(&base(), &["a".to_owned()], Digest::of(b"files"), b"FROM scratch"),
            version(&base().platform("linux/arm64")),
            Version::derive(&base(), &[], Digest::of(b"other files"), b"FROM scratch"),
            Version::derive(&base(), &[], Digest::of(b"files"), b"FROM busybox"),
        ];
        for (index, version) in versions.iter().enumerate() {
            assert!(!versions[..index].contains(version), "{index} is not unique: {version}");
        }
    }

    #[test]
    fn does_not_depend_on_where_the_context_lies_or_in_which_order_arguments_were_given() {
        let one = BuildRequest::new("api", "/here").build_arg("A", "1").build_arg("B", "2");
        let other = BuildRequest::new("web", "/there").build_arg("B", "2").build_arg("A", "1");
        assert_eq!(version(&one), version(&other));
    }
}
