//! Kubernetes plumbing that every in-cluster build mode needs.
//!
//! * [`Cluster`] reaches the API server: applies, deletes, ensures namespaces.
//! * [`BuildPod`] follows one builder pod from its creation to its end, and [`diagnose`] says why a
//!   pod is stuck or dead. [`Watch`], [`PodEvents`] and [`Patience`] are the parts that it is made of,
//!   for modes that follow something else.
//! * [`follow_log`] streams a container's log, [`StdinUpload`] streams into its stdin, [`PodStream`]
//!   talks to a command or a port of a pod, and [`ClusterDialer`] opens connections to Services, all
//!   through the API server.
//!   [`in_cluster`] says who need not.
//! * [`read_pull_secrets`] reads registry credentials, [`ensure_pull_secrets`] copies them to where workloads need them.
//! * [`resource_requirements`] and [`tolerations`] say where builder pods run and what they may use,
//!   [`builder_service_account`] who they are.
//! * [`DaemonPod`] is a daemon that takes builds, and tells its end; [`SharedService`] one pod that all projects share, installed once.
//! * [`InClusterRegistry`] is the registry that builds push to which have no other: installed, watched, cleaned.
//!   [`images_in_use`] says which images workloads name.
//! * [`Lease`] marks what a build creates, and [`sweep`] removes what dead builds left behind.

mod claim;
mod client;
mod daemon_pod;
mod diagnosis;
mod dialer;
mod ensure_pull_secrets;
mod error;
mod http_client;
mod images_in_use;
mod in_cluster_registry;
mod lease;
mod log;
mod ownership;
mod patience;
mod pod;
mod pod_events;
mod pod_socket;
mod pod_stream;
mod pull_secrets;
mod registry_access;
mod scheduling;
mod service_account;
mod shared_service;
mod stdin;
mod sweep;
mod watch;

pub use claim::{ensure_claim, lacks_volume, volume_claim, volume_trouble};
pub use client::{Cluster, new_namespace};
pub use daemon_pod::{DaemonPod, DaemonWords};
pub use diagnosis::{Diagnosis, PodState, Trouble, deleted, diagnose, latest_message};
pub use dialer::{ClusterDialer, in_cluster};
pub use ensure_pull_secrets::{EnsuredSecret, SecretCopy, ensure_pull_secrets};
pub use error::ClusterError;
pub use images_in_use::images_in_use;
pub use in_cluster_registry::{Collected, InClusterRegistry, RegistrySettings, ServerRun};
pub use lease::Lease;
pub use log::follow_log;
pub use ownership::{MANAGED_BY_LABEL, MANAGER, Ownership, build_id};
pub use patience::Patience;
pub use pod::{BuildPod, PodEnd};
pub use pod_events::PodEvents;
pub use pod_stream::PodStream;
pub use pull_secrets::read_pull_secrets;
pub use registry_access::RegistryAccess;
pub use scheduling::{
    lost_node_tolerations, own_pull_secrets, resource_requirements, system_tolerations, tolerations,
};
pub use service_account::{BUILDER_SERVICE_ACCOUNT, builder_service_account, builder_service_account_name};
pub use shared_service::{
    ServiceNotice, ServiceWords, SharedService, Tell, service_deployment, service_labels, service_selector,
};
pub use stdin::{StdinUpload, UploadedStdin};
pub use sweep::sweep;
pub use watch::Watch;
