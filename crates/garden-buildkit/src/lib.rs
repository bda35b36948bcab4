//! Internal, except for [`client`], which is promised: cluster-buildkit mode, a `BuildKit` daemon in the project's namespace, driven with its own protocol.
//!
//! [`BuildkitBackend`] tells the story of a build: `daemon` brings up the Deployment whose objects
//! [`spec`] makes, `request` puts the job into the daemon's words, [`client`] talks to it, `progress`
//! turns its reports into events, [`Run`] is what builds on any daemon have in common, `route` is the way to it, and `failure` says what its refusal means. [`cache`] decides which caches are
//! read and written.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
pub mod cache;
pub mod client;
pub mod daemon;
mod daemon_config;
mod failure;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod logins;
mod progress;
pub mod request;
mod route;
mod run;
mod settings;
pub mod spec;

pub use backend::BuildkitBackend;
pub use failure::{Advice, memory_perhaps};
pub use logins::BuildImages;
pub use route::Route;
pub use run::Run;
pub use settings::Settings;
