//! How a cluster reaches registries: through whom (`dialer`), by what TLS (`access`), which of them
//! builders ask for an image (`image_sources`), and with whose credentials
//! (`pull_secrets` reads them, `credentials` keeps what was read, `ensure_pull_secrets` copies them to where workloads need
//! them, `pod_pull_secrets` to where pods of ours do).

mod access;
mod credentials;
mod dialer;
mod ensure_pull_secrets;
mod image_sources;
mod pod_pull_secrets;
mod pull_secrets;

pub use access::{PushTarget, RegistryAccess};
pub use credentials::RegistryCredentials;
pub use dialer::{ClusterDialer, in_cluster};
pub use ensure_pull_secrets::{EnsuredSecret, SecretCopy, ensure_pull_secrets};
pub use image_sources::ImageSources;
pub use pod_pull_secrets::{PodPullSecrets, pull_secret_references};
