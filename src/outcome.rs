//! What a builder answers.

use std::time::Duration;

use garden_build_core::{Digest, ImageReference, PlannedObject, Version};
use serde::Serialize;

/// An image that is in the deployment registry; or, without one, in Docker and on the nodes of the local cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
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
    /// How long it took.
    pub duration: Duration,
}

/// What it took to have the image there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Outcome {
    /// The image was there already; nothing was built.
    AlreadyExists,
    /// The image was built and pushed.
    Built {
        /// How many steps of the Dockerfile came from a cache.
        steps_cached: usize,
        /// How many steps of the Dockerfile were run.
        steps_run: usize,
    },
}

/// What a build would do now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
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
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Plan {
    /// The name that the image would get.
    pub reference: ImageReference,
    /// The objects that would be created in the cluster, with secrets redacted.
    pub objects: Vec<PlannedObject>,
}

/// What [`Builder::init`](crate::Builder::init) has made sure of. Nothing of it, if nothing has to be installed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
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
