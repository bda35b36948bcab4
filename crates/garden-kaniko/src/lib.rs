//! Internal: kaniko mode, one pod for one build.
//!
//! [`KanikoBackend`] brings the build context to a pod with a kaniko executor, follows its log,
//! and removes the pod when the build ends, however it ends. The module `backend` tells that story,
//! `run` the pod's own. The pod fetches the context from a [`ContextService`], which is sent only what it does not have
//! (`service`; [`pack`] says what that is), or gets all of it on its stdin; `delivery` says how it is laid out. [`spec`] makes the objects, and what
//! decides something is a function from values to values: [`flags`] merges options, `progress` and `ending` read the
//! log, `earlier` sees whether another client builds the same image, `failure` says what the pod's end means, `unknown` what of a Dockerfile the executor passes over,
//! [`image_sources`] where the executor looks for base images.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod base_images;
mod delivery;
mod earlier;
mod ending;
mod executor;
mod failure;
pub mod flags;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod pack;
mod progress;
mod run;
mod service;
pub mod spec;
mod telemetry;
mod unknown;

pub use backend::KanikoBackend;
pub use base_images::image_sources;
pub use service::ContextService;
