//! Promised: the words that every part of garden-build speaks, and the build context.
//!
//! This crate knows nothing of networks, Kubernetes or registries, so that it compiles in seconds
//! and a new build mode needs to agree on nothing but what stands here:
//!
//! * [`Backend`] is a way to build an image; [`BuildJob`] is what it is asked to build and
//!   [`BuildControl`] is what it reports to and is stopped by.
//! * [`Event`] is what a caller sees while a build runs, [`Error`] what it gets if the build fails.
//! * [`context`] turns a directory into a [`Manifest`](context::Manifest) with a digest, and the
//!   manifest into a tar stream.
//! * [`words`] reads those of other programs.
//! * [`Digest`], [`ImageReference`] and [`Version`] are the names of images; [`FramedHasher`] makes digests of what has
//!   several parts.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod build_control;
pub mod context;
mod digest;
mod error;
mod event;
mod event_channel;
mod event_queue;
#[cfg(feature = "schema")]
mod event_schema;
mod framed_hasher;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod image_flag;
mod inputs;
pub mod milliseconds;
mod phases;
mod printable;
mod progress_meter;
mod proxy_variables;
mod reference;
mod regular_file;
mod request;
mod seconds;
mod sha256;
mod step;
mod step_kind;
mod trace_context;
mod user_cache;
mod version;
mod warning_code;
mod warning_data;
pub mod words;

pub use backend::{
    Backend, BuildJob, Capabilities, Caveat, MissingCapability, PlannedObject, Pushed, SweepReport,
};
pub use build_control::{BuildControl, Witness};
pub use digest::{Digest, DigestError};
pub use error::{Error, ErrorKind, FailedStep, Hint, HintCode, Remedy, Result, with_causes};
pub use event::{Event, LogSource, ProgressUnit, StepId};
pub use event_channel::{EventRelay, EventSink, EventSource, EventStream, event_channel};
#[cfg(feature = "schema")]
pub use event_schema::event_schema;
pub use framed_hasher::FramedHasher;
pub use image_flag::ImageFlag;
pub use inputs::{BuildSecret, NamedContext};
pub use printable::Printable;
pub use proxy_variables::{ProxyUrl, ProxyVariables};
pub use reference::{ImageReference, ReferenceError};
pub use regular_file::{read_at_most, read_regular_file};
pub use request::{BuildRequest, FileGlobs, IgnoreFiles, LONGEST_ARGUMENT};
pub use seconds::seconds;
pub use sha256::Sha256;
pub use step::Step;
pub use step_kind::{Instruction, StepKind};
pub use trace_context::{TraceContext, TraceContextError};
pub use user_cache::{Caches, read_private_file, write_private_file};
pub use version::Version;
pub use warning_code::WarningCode;
pub use warning_data::WarningData;

/// What [`Backend`]'s methods return, as it is object safe.
pub use futures::future::BoxFuture;
/// What cancels a build; see [`BuildControl`].
pub use tokio_util::sync::CancellationToken;
