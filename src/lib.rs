#![doc = include_str!("docs/links.md")]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod base_images;
mod builder;
mod clean_up;
// Only rustdoc reads it. The code in the pages uses all build modes and project files.
#[cfg(all(
    doc,
    any(not(doctest), all(feature = "buildkit", feature = "config", feature = "docker", feature = "kaniko"))
))]
pub mod docs;
mod init;
mod mode;
mod operation;
mod outcome;
mod publish;
mod remedies;
mod running;
mod target;

pub use builder::{Builder, BuilderOptions};
pub use clean_up::{CleanUpOptions, CleanUpReport};
#[cfg(feature = "schema")]
pub use garden_build_core::event_schema;
pub use garden_build_core::{
    Backend, BoxFuture, BuildControl, BuildJob, BuildRequest, BuildSecret, Caches, CancellationToken,
    Capabilities, Caveat, Digest, DigestError, Error, ErrorKind, Event, EventRelay, EventSink, EventSource,
    EventStream, FailedStep, FileGlobs, Hint, HintCode, IgnoreFiles, ImageFlag, ImageReference, Instruction,
    LogSource, MissingCapability, NamedContext, PlannedObject, Printable, ProgressUnit, Pushed,
    ReferenceError, Remedy, Result, Step, StepId, StepKind, SweepReport, TraceContext, TraceContextError,
    Version, WarningCode, WarningData, Witness, event_channel,
};
pub use garden_cluster::{EnsuredSecret, SecretCopy};
pub use garden_config as config;
/// Registries: credentials, and the client that publishing uses.
#[doc(inline)]
pub use garden_registry as registry;
pub use garden_registry::clean_up::{
    CleanUpPlan, Deletion, FailedDeletion, Kept, KeptBecause, UnreadableContent,
};
/// The Kubernetes client that [`BuilderOptions::client`] takes.
pub use kube;
pub use operation::{Build, Detached, Operation, OperationHandle};
pub use outcome::{BuiltImage, Initialized, Outcome, Plan, Status};
pub use publish::{PublishRequest, Published};

/// The build context: what of a directory a build reads. A [`Backend`] gets a [`Context`](context::Context); how it is sent as a stream is in the
/// crate `garden-build-core`.
pub mod context {
    pub use garden_build_core::context::{
        Context, ContextError, DigestCache, Dockerfile, Entry, EntryKind, Extent, LargeContext, LargePart,
        LeftOut, Manifest, PathBytes, StagesBuilt, Tree,
    };
}

/// Docker daemons, for the build mode local-docker ([`BuilderOptions::docker`]) and for [`Builder::load_into_docker`].
#[cfg(feature = "docker")]
pub mod docker {
    pub use garden_docker::{
        AsksForTls, DaemonCleanUpReport, DockerDaemon, DockerError, FailedUntag, KeptName, LoadError,
        ReachError,
    };
}
