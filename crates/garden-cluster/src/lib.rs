//! Kubernetes plumbing that every in-cluster build mode needs.
//!
//! * [`Cluster`] reaches the API server: applies, deletes, ensures namespaces.
//! * [`BuildPod`] follows one builder pod from its creation to its end, and [`diagnose`] says why a
//!   pod is stuck or dead.
//! * [`follow_log`] streams a container's log, [`StdinUpload`] streams into its stdin, and
//!   [`ClusterDialer`] opens connections to Services, all through the API server.
//! * [`read_pull_secrets`] reads registry credentials.
//! * [`resource_requirements`] and [`tolerations`] say where builder pods run and what they may use.
//! * [`Lease`] marks what a build creates, and [`sweep`] removes what dead builds left behind.

mod client;
mod diagnosis;
mod dialer;
mod error;
mod lease;
mod log;
mod ownership;
mod pod;
mod port_forward;
mod pull_secrets;
mod scheduling;
mod stdin;
mod sweep;

pub use client::{Cluster, new_namespace};
pub use diagnosis::{Diagnosis, PodState, Trouble, diagnose};
pub use dialer::ClusterDialer;
pub use error::ClusterError;
pub use lease::Lease;
pub use log::follow_log;
pub use ownership::{Ownership, build_id};
pub use pod::{BuildPod, PodEnd};
pub use pull_secrets::read_pull_secrets;
pub use scheduling::{resource_requirements, tolerations};
pub use stdin::{StdinUpload, UploadedStdin};
pub use sweep::sweep;
