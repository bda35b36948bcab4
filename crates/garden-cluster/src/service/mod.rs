//! A pod of ours that outlives a build: the daemon that takes builds, the services that all projects share, and their volumes.

mod claim;
mod daemon;
pub(crate) mod shared;

pub use claim::{ensure_claim, lacks_volume, volume_claim, volume_trouble};
pub use daemon::{DaemonPod, DaemonWords};
pub use shared::{
    ServiceNotice, ServiceWords, SharedService, Tell, service_deployment, service_labels, service_selector,
};
