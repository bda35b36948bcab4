//! One pod: what it is made of, its way to its end, what is wrong with it, and the streams into it.
//!
//! * Making it: `scheduling` (where it runs and what it may use), `service_account` (who it is).
//! * Its life: `build_pod` follows one from creation to end; `diagnose` says what its status and its events mean,
//!   `patience` how long a trouble is borne.
//! * Streams: `log` reads, `stdin` writes, `stream` does both with a command or a port; `socket` is what they share.

mod build_pod;
mod diagnose;
mod events;
mod log;
mod patience;
mod scheduling;
mod service_account;
mod socket;
mod stdin;
mod stream;

pub use build_pod::{BuildPod, PodEnd};
pub use diagnose::{PodState, deleted, diagnose, latest_message};
pub use events::PodEvents;
pub use log::follow_log;
pub use patience::Patience;
pub use scheduling::{
    lost_node_tolerations, own_pull_secrets, resource_requirements, system_tolerations, tolerations,
};
pub use service_account::{BUILDER_SERVICE_ACCOUNT, builder_service_account, builder_service_account_name};
pub use stdin::{StdinUpload, UploadedStdin};
pub use stream::PodStream;
