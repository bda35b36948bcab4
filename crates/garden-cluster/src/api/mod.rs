//! The API server: the one client of it, the proxies before it, TLS to it, its clock, what it refuses, and watches that go on after a break. `literal`
//! has the texts of containers taken as they are.

mod client;
mod clock;
mod confined;
mod connect;
mod contexts;
mod credential_plugin;
mod error;
mod http_client;
mod literal;
mod namespaced;
mod proxy;
mod refusal;
mod silence;
mod tls;
mod unreached;
mod watch;

pub use client::{Cluster, new_namespace};
pub(crate) use client::{Reach, answer, ask, name_of};
pub use error::ClusterError;
pub use literal::planned;
pub use namespaced::Namespaced;
pub use refusal::Refusal;
pub(crate) use watch::{Watch, Watched, is_refused};
