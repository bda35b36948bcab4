#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grammar;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::grammar::Problem;
use crate::Digest;

/// The name of an image in a registry: `host[:port]/repository[:tag][@digest]`.
///
/// Parsed as Docker's reference grammar says, so `busybox` is Docker Hub's
/// `docker.io/library/busybox:latest`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// A text that is not the name of an image.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: String,
}

crate::debug_with_causes!(ReferenceError);

impl ImageReference {
    /// Names the image `repository:tag` at `registry` (`host` or `host:port`).
    ///
    /// # Errors
    /// If the three do not form a reference by Docker's grammar (for example with upper case in the repository), or
    /// one that names something else (a registry without dot and port would be a user of Docker Hub).
    pub fn tagged(registry: &str, repository: &str, tag: &str) -> Result<Self, ReferenceError> {
        let text = format!("{registry}/{repository}:{tag}");
        let parsed: Self = text.parse()?;
        // Docker's grammar takes a word without dot and port for a user of Docker Hub, for example.
        let is_meant = (parsed.registry(), parsed.repository()) == (registry, repository)
            && parsed.tag() == Some(tag)
            && parsed.digest().is_none();
        if is_meant {
            Ok(parsed)
        } else {
            let reason = format!("it would name `{parsed}`, not `{repository}` at the registry `{registry}`");
            Err(ReferenceError { text, reason })
        }
    }

    /// Returns whether `text` can be the tag of an image: at most 128 letters and digits of ASCII, `_`, `.` and `-`, with a
    /// letter, digit or `_` first.
    pub fn is_tag(text: &str) -> bool {
        grammar::is_tag(text)
    }

    /// Returns the registry's `host` or `host:port`; `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository's path at the registry, without tag and digest.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag, if the reference has one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest as text, if the reference has one.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Returns `registry/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry(), self.repository())
    }

    /// Returns the name of the same image at another registry, or at the same one under another name.
    ///
    /// # Errors
    /// If `registry` is no `host` or `host:port` that names of images can begin with.
    pub fn in_registry(&self, registry: &str) -> Result<Self, ReferenceError> {
        let rest = self.to_string();
        let rest = rest.strip_prefix(self.registry()).unwrap_or(&rest);
        let text = format!("{registry}{rest}");
        let parsed: Self = text.parse()?;
        if parsed.registry() == registry && parsed.repository() == self.repository() {
            return Ok(parsed);
        }
        let reason = format!("it would name `{parsed}`, not an image at the registry `{registry}`");
        Err(ReferenceError { text, reason })
    }

    /// Returns the reference that names exactly the image with `digest` in the same repository.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest.to_string()), ..self.clone() }
    }

    /// Returns [`with_digest`](Self::with_digest) as text.
    pub fn at(&self, digest: Digest) -> String {
        self.with_digest(digest).to_string()
    }

    /// Returns the reference that names `tag` in the same repository.
    ///
    /// # Errors
    /// If `tag` cannot be a tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        Self::tagged(self.registry(), self.repository(), tag)
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reason = |problem: Problem| ReferenceError { text: text.to_owned(), reason: problem.to_string() };
        grammar::parse(text).map_err(reason)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ImageReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_ports_tags_and_nested_repositories_apart() {
        let reference =
            ImageReference::tagged("registry.example:5000", "team/project/api", "v-1").expect("valid");
        assert_eq!(reference.registry(), "registry.example:5000");
        assert_eq!(reference.repository(), "team/project/api");
        assert_eq!(reference.tag(), Some("v-1"));
        assert_eq!(reference.to_string(), "registry.example:5000/team/project/api:v-1");
    }

    #[test]
    fn names_the_same_image_at_another_registry() {
        let image: ImageReference = "127.0.0.1:5000/shop/api:v-1".parse().expect("valid");
        let moved = image.in_registry("registry.tools.svc:5000").expect("valid");
        assert_eq!(moved.to_string(), "registry.tools.svc:5000/shop/api:v-1");
        assert!(image.in_registry("registry").is_err());
    }

    #[test]
    fn expands_docker_hub_short_names() {
        let reference: ImageReference = "busybox".parse().expect("valid");
        assert_eq!(reference.to_string(), "docker.io/library/busybox:latest");
    }

    #[test]
    fn refuses_what_would_name_something_else() {
        for (registry, tag) in [("registry", "v-1"), ("registry.example", "v@sha256:00")] {
            ImageReference::tagged(registry, "api", tag).expect_err(registry);
        }
        ImageReference::tagged("localhost", "api", "v-1").expect("Docker's grammar knows localhost");
        ImageReference::tagged("docker.io", "team/api", "v-1").expect("Docker Hub by its own name");
    }

    #[test]
    fn says_which_text_is_wrong() {
        let error = ImageReference::tagged("registry.example", "Team/api", "v-1").expect_err("upper case");
        assert!(error.to_string().contains("registry.example/Team/api:v-1"), "{error}");
    }
}
