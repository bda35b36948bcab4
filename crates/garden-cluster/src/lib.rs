//! Internal: Kubernetes plumbing that every in-cluster build mode needs.
//!
//! * [`Cluster`] reaches the API server: applies, deletes, ensures namespaces. A kind that it knows is [`Namespaced`]. Whatever it creates has
//!   the texts of its containers taken as they are; [`planned`] shows that.
//! * [`BuildPod`] follows one builder pod from its creation to its end, and a [`Diagnosis`] says why a pod is stuck or dead.
//! * [`follow_log`] streams a container's log, [`PodStream`] talks to a command, a container's stdin or a port
//!   of a pod, and [`ClusterDialer`] opens connections to Services, all
//!   through the API server.
//!   [`in_cluster`] says who need not.
//! * [`RegistryCredentials`] reads the credentials of registries, [`ensure_pull_secrets`] copies them to where workloads need
//!   them, and [`PodPullSecrets`] are those that pods of ours need; [`PushTarget`] and [`RegistryAccess`] say how registries are reached, [`ImageSources`] which ones builders ask.
//! * [`resource_requirements`] and [`tolerations`] say where builder pods run and what they may use,
//!   [`builder_service_account`] who they are, [`BuilderProxies`] which proxies they use.
//! * [`ManagedDeployment`] is a Deployment of ours, whose one pod outlives builds: whether it is there and ours, what stands in its
//!   way, and waiting for it. [`DaemonPod`] is its pod that takes a build, and tells its end.
//! * [`Remedies`], [`DeploymentWords`] and [`RegistryWords`] are what people hear of troubles, in the words of whoever knows the options;
//!   [`last_words`] finds the end that a broken connection is the echo of.
//! * [`InClusterRegistry`] is the registry that builds push to which have no other: installed, watched, cleaned.
//!   [`images_in_use`] says which images workloads name.
//! * [`Lease`] marks what a build creates, and [`sweep`] removes what dead builds left behind.
//! * [`builds_begun_before`] finds the pods of other clients that build the same image.
//! * [`ManagedDeployment::used_from_now_on`] and [`ManagedDeployment::keep_in_use`] say that a service is used, and [`stop_idle`] scales to zero what
//!   nobody uses.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
mod builder_proxies;
mod diagnosis;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod idle;
mod in_cluster_registry;
mod leftovers;
mod ownership;
mod pod;
mod quantity;
mod registries;
mod renewal;
mod same_image;
mod service;

pub use api::{Cluster, ClusterError, Namespaced, Refusal, new_namespace, planned};
pub use builder_proxies::BuilderProxies;
pub use diagnosis::{Cause, Diagnosis, Lack, Remedies};
pub use idle::{IDLE_AFTER, stop_idle, stop_idle_in, used_at};
pub use in_cluster_registry::{
    CheckedNodes, Collected, InClusterRegistry, NamedImages, RegistryRemedies, RegistrySettings,
    RegistryWords, ServerRun, images_in_use,
};
pub use leftovers::{Lease, sweep};
pub use ownership::{MANAGED_BY_LABEL, MANAGER, Ownership, build_id};
pub use pod::{
    BUILDER_SERVICE_ACCOUNT, BuildPod, LAST_WORDS_PATIENCE, PodEnd, PodStream, builder_service_account,
    builder_service_account_name, confined, follow_log, last_words, lost_node_tolerations, missing_program,
    resource_requirements, system_tolerations, tolerations, usual_system_calls,
};
pub use registries::{
    ClusterDialer, EnsuredSecret, ImageSources, PodPullSecrets, PushTarget, RegistryAccess,
    RegistryCredentials, SecretCopy, ensure_pull_secrets, in_cluster, pull_secret_references,
};
pub use same_image::{EarlierBuild, builds_begun_before, destination_label};
pub use service::{
    AllowedPeers, CONFIGURATION, DaemonPod, DeploymentWords, ManagedDeployment, ServicePolicy, Sight,
    VolumeWords, annotation, configuration, configured_at, is_refused, is_stopped, living, pod_of,
    service_deployment, service_labels, service_selector, volume_claim,
};
