#![doc = include_str!("../README.md")]

mod build;
mod builder;
mod mode;
mod target;

pub use build::Build;
pub use builder::{Builder, BuiltImage, Outcome, Plan, Status};
pub use garden_build_core::{
    Backend, BuildContext, BuildJob, BuildRequest, Capabilities, Digest, Error, ErrorKind, Event, EventSink,
    ImageReference, PlannedObject, Pushed, Result, Step, StepId, Stream, SweepReport, Version, context,
};
pub use garden_config as config;
