//! Which executor builds, as far as the name of its image tells.

use std::fmt;

/// A version of kaniko: Google's up to 1.24.0, those of the maintained fork after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    /// Reads the version from the tag of an image that is kaniko's by its name, such as
    /// `gcr.io/kaniko-project/executor:v1.24.0-debug`. An image that somebody has made of it counts versions of its own.
    pub(crate) fn of_image(image: &str) -> Option<Self> {
        let image = image.split('@').next()?;
        let (name, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
        let (_, repository) = name.split_once('/').unwrap_or(("", name));
        if !repository.contains("kaniko") {
            return None;
        }
        let number = tag.strip_prefix('v')?.split(['-', '+']).next()?;
        let mut parts = number.split('.').map(str::parse);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Some(Self(major, minor, patch)),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_from_the_tags_of_kaniko_s_own_images() {
        for (image, version) in [
            ("gcr.io/kaniko-project/executor:v1.24.0-debug", Some(Version(1, 24, 0))),
            ("ghcr.io/osscontainertools/kaniko:v1.28.3-debug", Some(Version(1, 28, 3))),
            ("mirror.example:5000/gcr/kaniko-project/executor:v1.9.1@sha256:00", Some(Version(1, 9, 1))),
            ("gcr.io/kaniko-project/executor:debug", None),
            ("gcr.io/kaniko-project/executor@sha256:00", None),
            ("kaniko.example:5000/executor:v1.24.0", None),
            ("company.example/kaniko:1.2.3", None),
            ("company.example/kaniko:v3", None),
            ("company.example/builder:v1.2.3", None),
        ] {
            assert_eq!(Version::of_image(image), version, "{image}");
        }
        assert!(Version(1, 9, 1) < Version(1, 24, 0));
    }
}
