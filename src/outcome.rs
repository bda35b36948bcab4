//! What a builder answers.

use std::time::Duration;

use garden_build_core::{Digest, ImageReference, PlannedObject, Version, milliseconds};
use serde::{Deserialize, Serialize};

/// An image that is in the deployment registry; or, without one, in Docker and on the nodes of the local cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BuiltImage {
    /// The image's name; its tag is the version.
    pub reference: ImageReference,
    /// What the tag stood for when the build ended: the digest of its manifest in the registry, or without one, Docker's
    /// identifier of the image.
    pub digest: Digest,
    /// Whether the registry itself says so. If it could not be asked from here, the digest is the word of the builder, in which the
    /// Dockerfile's own steps run: that the build succeeded is then certain from the cluster, but with kaniko a step that wants to can put
    /// any other digest in its place. Ask the registry before you trust in it.
    pub confirmed_by_registry: bool,
    /// What it took.
    pub outcome: Outcome,
    /// How long it took in all, from the call to the result. In JSON: `durationMs`, in milliseconds.
    #[serde(rename = "durationMs", with = "milliseconds")]
    pub duration: Duration,
}

/// What it took to have the image there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Outcome {
    /// The image was there already, or a build of another program has pushed it meanwhile; this one has built nothing.
    AlreadyExists,
    /// The image was built and pushed.
    #[non_exhaustive]
    Built {
        /// How many steps of the Dockerfile came from a cache.
        steps_cached: usize,
        /// How many steps of the Dockerfile were run.
        steps_run: usize,
    },
}

/// What a build would do now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Status {
    /// The name that the image has or would get.
    pub reference: ImageReference,
    /// The image's version.
    pub version: Version,
    /// The digest of the image, if it exists; a build would then do nothing.
    pub existing: Option<Digest>,
}

/// Everything that a build would create.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Plan {
    /// The name that the image would get.
    pub reference: ImageReference,
    /// The objects that would be created in the cluster, with secrets redacted.
    pub objects: Vec<PlannedObject>,
}

/// What [`Builder::init`](crate::Builder::init) has made sure of. Nothing of it, if nothing has to be installed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Initialized {
    /// The registry within the cluster serves and takes pushes, and these nodes were asked to pull from it, and could.
    /// `None` if images go elsewhere.
    pub registry_nodes: Option<Vec<String>>,
    /// The Docker daemon within the cluster takes builds. `false` if another mode builds.
    pub docker_daemon: bool,
    /// The context service of kaniko serves. `false` if another mode builds, or contexts are sent to each pod.
    pub context_service: bool,
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_client_of_a_service_reads_what_was_built() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = BuiltImage {
            reference: ImageReference::from_str("r.example/a:v-00112233445566778899").expect("a name"),
            digest: Digest::from_str(&digest).expect("a digest"),
            confirmed_by_registry: true,
            outcome: Outcome::Built { steps_cached: 1, steps_run: 2 },
            duration: Duration::from_micros(1_500_900),
        };
        let written = json!({
            "reference": "r.example/a:v-00112233445566778899",
            "digest": digest,
            "confirmedByRegistry": true,
            "outcome": {"built": {"stepsCached": 1, "stepsRun": 2}},
            "durationMs": 1500,
        });
        assert_eq!(serde_json::to_value(&image).expect("JSON"), written);
        let read: BuiltImage = serde_json::from_value(written).expect("an image");
        assert_eq!(read, BuiltImage { duration: Duration::from_millis(1500), ..image });
    }

    #[test]
    fn names_and_versions_from_elsewhere_are_checked() {
        let status = |reference: &str, version: &str| {
            serde_json::from_value::<Status>(
                json!({"reference": reference, "version": version, "existing": null}),
            )
        };
        assert!(status("r.example/a:1", "v-00112233445566778899").is_ok());
        assert!(status("r.example/a b", "v-00112233445566778899").is_err());
        assert!(status("r.example/a:1", "v-0011223344556677889G").is_err());
    }
}
