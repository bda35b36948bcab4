//! A Deployment of ours: one pod that outlives builds. It is a daemon that takes them (`BuildKit`'s, Docker's), or a
//! service that they use (the registry, the context service).
//!
//! * `words`: which Deployment it is, and what people hear of it.
//! * `objects`: what such Deployments have in common; `claim`: their volumes; `network_policy`: who may connect to
//!   their pods.
//! * `deployment`: is it there, is it ours, which pod takes builds.
//! * `judge`: what the cluster shows of a pod, and what that means; `rollout` and `replacement` judge a whole Deployment by
//!   it. Pure.
//! * `wait`: until it serves, by watches.
//! * `daemon`: the pod that takes a build, and its end; `outlived`: what keeps a pod when its daemon has ended; `unpulled`: pods
//!   that could not pull their image before.
//!
//! Why: docs/decisions/61-deployments-are-judged-in-one-place.md

mod claim;
pub(crate) mod daemon;
pub(crate) mod deployment;
pub(crate) mod judge;
mod network_policy;
mod objects;
mod outlived;
mod replacement;
pub(crate) mod rollout;
pub(crate) mod unpulled;
pub(crate) mod wait;
mod words;

pub use claim::volume_claim;
pub use daemon::DaemonPod;
pub use deployment::{ManagedDeployment, Sight};
pub use judge::{annotation, configured_at, is_refused, is_stopped, living};
pub use network_policy::{AllowedPeers, ServicePolicy};
pub(crate) use objects::pod_template;
pub use objects::{
    CONFIGURATION, configuration, pod_of, service_deployment, service_labels, service_selector,
};
pub use words::{DeploymentWords, VolumeWords};
