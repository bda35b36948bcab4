#![doc = include_str!("../README.md")]

mod base_images;
mod builder;
mod clean_up;
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
    Backend, BoxFuture, BuildContext, BuildJob, BuildRequest, BuildSecret, Caches, CancellationToken,
    Capabilities, Caveat, Digest, Error, ErrorKind, Event, EventRelay, EventSink, EventSource, EventStream,
    FailedStep, Hint, HintCode, ImageFlag, ImageReference, Instruction, LogSource, MissingCapability,
    NamedContext, PlannedObject, ProgressUnit, Pushed, Remedy, Result, Step, StepId, StepKind, SweepReport,
    Version, WarningCode, Witness, context, event_channel,
};
pub use garden_cluster::{EnsuredSecret, SecretCopy};
pub use garden_config as config;
/// Docker daemons, for [`Builder::load_into_docker`].
pub use garden_docker as docker;
/// Registries: credentials, and the client that publishing uses.
pub use garden_registry as registry;
pub use garden_registry::clean_up::{
    CleanUpPlan, Deletion, FailedDeletion, Kept, KeptBecause, UnreadableContent,
};
/// The Kubernetes client that [`BuilderOptions::client`] takes.
pub use kube;
pub use operation::{Build, Detached, Operation, OperationHandle};
pub use outcome::{BuiltImage, Initialized, Outcome, Plan, Status};
pub use publish::{PublishRequest, Published};
