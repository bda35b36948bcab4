//! What there is to know of an image, and which images of a list a build may begin with.

use garden_build_core::Digest;
use garden_registry::{Descriptor, Platform};
use serde::{Deserialize, Serialize};

/// What is known of a manifest. It follows from the content, and so from the digest: it stays true for ever.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Fact {
    Image { has_triggers: bool },
    Index { children: Vec<Child> },
}

/// An image of a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Child {
    pub(super) digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

impl Child {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest, platform: descriptor.platform.clone() }
    }

    fn runs_on(&self, wanted: &str) -> bool {
        let Some(platform) = &self.platform else { return false };
        let platform = platform.to_string();
        platform == wanted || platform.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Chooses the images of a list that a build may begin with. Where no platform is asked for, it is the node's, and hardly any
/// is of another kind than these two; a list is made of one Dockerfile anyway.
pub(super) fn images<'c>(children: &'c [Child], platforms: &[String]) -> Vec<&'c Child> {
    let chosen = |wanted: &[&str]| -> Vec<&'c Child> {
        children.iter().filter(|child| wanted.iter().any(|wanted| child.runs_on(wanted))).collect()
    };
    if !platforms.is_empty() {
        return chosen(&platforms.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let usual = chosen(&["linux/amd64", "linux/arm64"]);
    if usual.is_empty() {
        children.iter().filter(|child| !child.runs_on("unknown/unknown")).collect()
    } else {
        usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_list_the_images_count_that_a_build_may_begin_with() {
        let child = |platform: &str| {
            let mut parts = platform.splitn(3, '/').map(str::to_owned);
            let (os, architecture) = (parts.next().expect("os"), parts.next().expect("architecture"));
            let mut descriptor = Descriptor::of("manifest", platform.as_bytes());
            descriptor.platform = Some(Platform::new(os, architecture, parts.next()));
            Child::of(&descriptor)
        };
        let index = ["linux/amd64", "linux/arm64/v8", "linux/arm/v7", "windows/amd64", "unknown/unknown"];
        let index = index.map(child);
        let chosen = |children: &[Child], platforms: &[&str]| {
            let platforms: Vec<String> = platforms.iter().map(|&platform| platform.to_owned()).collect();
            let images = images(children, &platforms);
            images
                .iter()
                .map(|image| image.platform.as_ref().expect("platform").to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(&index, &[]), ["linux/amd64", "linux/arm64/v8"]);
        assert_eq!(chosen(&index, &["linux/arm64"]), ["linux/arm64/v8"]);
        assert_eq!(chosen(&index, &["linux/arm"]), ["linux/arm/v7"]);
        assert!(chosen(&index, &["linux/s390x"]).is_empty());
        assert_eq!(chosen(&index[2..], &[]), ["linux/arm/v7", "windows/amd64"]);
    }
}
