//! What a warning is about, for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a warning is about. The names stay as they are from version to version; the messages may get other words.
///
/// A code that a later version adds is read as [`WarningCode::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WarningCode {
    /// The configuration has a field that is on its way out.
    DeprecatedField,
    /// The configuration has a field on which nothing depends.
    FieldWithoutEffect,
    /// The configuration works, and another setting would be better.
    BetterSetting,
    /// A document or file of the configuration is passed over.
    DocumentPassedOver,
    /// Sockets or FIFOs of the context are not in the image.
    FileLeftOut,
    /// The builder does not know something that the Dockerfile uses, or may not know it.
    UnknownToBuilder,
    /// The builder copies a symbolic link where others copy what it leads to.
    LinkCopied,
    /// A build argument is too long for any command to start.
    OversizedArgument,
    /// The builder itself warns: of the Dockerfile, or of what happens during the build.
    Builder,
    /// It is not known whether the image exists, so it is built.
    ImageLookUpFailed,
    /// The image was pushed by another build at the same time.
    PushedByAnotherBuild,
    /// Another build that pushes to the same tag runs at the same time, and this one does not wait for it.
    AnotherBuildRuns,
    /// The registry could not say that it has the image; only the builder does.
    PushUnconfirmed,
    /// The registry was stopped during the build, so the build begins again.
    RegistryStopped,
    /// The builder was lost, so the build begins again.
    BuilderLost,
    /// A build cache could not be read or written.
    CacheUnusable,
    /// Credentials could not be read or used, or a credential helper does not answer.
    CredentialsUnusable,
    /// The Secrets that nodes pull an image with are missing or out of date.
    PullSecretsIncomplete,
    /// The way to the builder that is faster cannot be used, so another one is.
    SlowerRoute,
    /// The end of the builder's log could not be read.
    LogIncomplete,
    /// A service that several projects share is configured otherwise than this project says, or was a moment ago.
    ServiceDiffers,
    /// A pod that waits could not be replaced by one that tries at once.
    PodNotReplaced,
    /// A volume could not get another size.
    VolumeSizeKept,
    /// A `NetworkPolicy` that is not wanted could not be removed.
    NetworkPolicyKept,
    /// What the build has created could not be removed. The message names it.
    NotRemoved,
    /// An image could not be deleted. The message names it.
    ImageNotDeleted,
    /// The cluster's API server does not answer.
    ClusterSilent,
    /// The build could not record in the cluster that its pod or Deployment is still in use. If that goes on, others may remove or stop it.
    LeaseNotRenewed,
    /// The build context is unusually large.
    LargeContext,
    /// The build context has the repository's own `.git`, which changes with each commit.
    RepositoryInContext,
    /// Something else.
    #[serde(other)]
    Other,
}

/// As in JSON, such as `push-unconfirmed`.
impl fmt::Display for WarningCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
