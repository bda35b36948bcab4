//! One pod: what it is made of, its way to its end, what is wrong with it, and the streams into it.
//!
//! * Making it: `scheduling` (where it runs and what it may use), `service_account` (who it is), `confinement` (what it may not do).
//! * Its life: `build_pod` follows one from creation to end; `diagnose` says what its status and its events mean,
//!   `patience` how long a trouble is borne; `last_words` waits for the end that a broken connection is the echo of.
//! * What a runtime says of a program that is not there: `missing_program`.
//! * Streams: `log` reads; `stream` reads and writes, with a command, a container's stdin or a port, `stdin` feeds one, and
//!   `socket` is what they begin with.

mod build_pod;
mod confinement;
mod diagnose;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod last_words;
mod log;
mod missing_program;
mod patience;
mod scheduling;
mod service_account;
mod socket;
mod stdin;
mod stream;

pub use build_pod::{BuildPod, PodEnd};
pub use confinement::{confined, usual_system_calls};
pub(crate) use diagnose::{PodState, deleted, diagnose, latest_message};
pub(crate) use events::{EVENTS_AFTER, PodEvents};
pub use last_words::{LAST_WORDS_PATIENCE, last_words};
pub use log::follow_log;
pub use missing_program::missing_program;
pub(crate) use patience::Patience;
pub use scheduling::{lost_node_tolerations, resource_requirements, system_tolerations, tolerations};
pub use service_account::{BUILDER_SERVICE_ACCOUNT, builder_service_account, builder_service_account_name};
pub use stream::PodStream;
