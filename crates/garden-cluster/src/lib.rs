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

mod api;
mod diagnosis;
mod in_cluster_registry;
mod leftovers;
mod ownership;
mod pod;
mod registries;
mod service;

pub use api::{Cluster, ClusterError, Watch, new_namespace};
pub use diagnosis::{Diagnosis, Trouble};
pub use in_cluster_registry::{Collected, InClusterRegistry, RegistrySettings, ServerRun, images_in_use};
pub use leftovers::{Lease, sweep};
pub use ownership::{MANAGED_BY_LABEL, MANAGER, Ownership, build_id};
pub use pod::{
    BUILDER_SERVICE_ACCOUNT, BuildPod, Patience, PodEnd, PodEvents, PodState, PodStream, StdinUpload,
    UploadedStdin, builder_service_account, builder_service_account_name, deleted, diagnose, follow_log,
    latest_message, lost_node_tolerations, own_pull_secrets, resource_requirements, system_tolerations,
    tolerations,
};
pub use registries::{
    ClusterDialer, EnsuredSecret, RegistryAccess, SecretCopy, ensure_pull_secrets, in_cluster,
    read_pull_secrets,
};
pub use service::{
    DaemonPod, DaemonWords, ServiceNotice, ServiceWords, SharedService, Tell, ensure_claim, lacks_volume,
    service_deployment, service_labels, service_selector, volume_claim, volume_trouble,
};
