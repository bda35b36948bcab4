//! An image registry in the test's own process, on a port of this machine that only it reaches.
//!
//! [`Registry`] speaks the OCI Distribution Specification 1.1: manifests and lists of them, blobs, uploads in one piece and in
//! parts, mounts, tags, the catalog, referrers, and deletion. All is in memory, and gone when the last handle is dropped.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use garden_build_testing::registry::{Image, Registry};
//!
//! let registry = Registry::start().await;
//! let digest = registry.push_image("team/api:1", &Image::new().file("etc/motd", "hello\n"));
//! assert!(registry.has("team/api:1"));
//! assert_eq!(registry.manifest("team/api:1").unwrap().digest(), digest);
//! // What a client calls it, such as `127.0.0.1:40123/team/api:1`.
//! let reference = registry.reference("team/api:1");
//! assert_eq!(reference.registry(), registry.host());
//! # }
//! ```
//!
//! # Logins, and TLS
//!
//! A [`RegistryBuilder`] gives it passwords, a token server, a certificate of a private authority, or a storage of its own for blobs:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use garden_build_testing::registry::Registry;
//!
//! let registry = Registry::builder().tls().login("robot", "s3cret").tokens().start().await;
//! assert!(registry.url().starts_with("https://127.0.0.1:"));
//! assert!(registry.ca_certificate().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
//! // For a Secret of type `kubernetes.io/dockerconfigjson`, or for `config.json`.
//! let config = registry.docker_config("robot", "s3cret");
//! assert!(config.contains(&registry.host()));
//! # }
//! ```
//!
//! # What goes wrong
//!
//! A [`Fault`] changes how a request is answered: refused, late, never, or with a connection that breaks at a certain byte.
//! [`Registry::requests`] returns what was asked.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use garden_build_testing::registry::{Fault, Registry};
//!
//! let registry = Registry::start().await;
//! registry.fault(Fault::refuse("PUT", "/v2/*/manifests/*", 503));
//! // … push something …
//! assert_eq!(registry.count("PUT", "/v2/*/manifests/*"), 0);
//! # }
//! ```
//!
//! # Time
//!
//! Delays, rate limits and the lives of tokens go by Tokio's clock. A clock that is paused moves on by itself while everybody waits, for a socket as well:
//! the time limit of a client may then be over before the answer has come. Pause it while nothing is on its way to the registry or back, or
//! connect the client by [`Registry::serve`].
//!
//! # Differences from other registries
//!
//! Digests are SHA-256 only. Tokens are plain secrets and not signed. Nothing is collected: a blob stays until it is deleted.

mod answer;
mod builder;
mod content;
mod fault;
mod image;
mod login;
mod request;
mod route;
mod server;
mod state;
mod storage;
mod store;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use garden_build_core::ImageReference;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use self::server::Side;
use self::state::{RateLimit, Shared};

pub use self::answer::Response;
pub use self::builder::RegistryBuilder;
pub use self::fault::Fault;
pub use self::image::Image;
pub use self::request::Request;
pub use self::state::Connections;
pub use self::store::Manifest;

/// The media type of an image's manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of a list of manifests.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that runs. Clones are the same registry, which is stopped when the last one is dropped.
///
/// It runs on the Tokio runtime that it was started in. A test that blocks its thread meanwhile, to wait for another process for example, needs
/// `#[tokio::test(flavor = "multi_thread")]`.
///
/// Images are named without the registry: `team/api:1` or `team/api@sha256:…`. A name without a tag and a digest means `:latest`. Methods panic if a
/// text cannot be the name of an image.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    /// `None` in what a fault is given, or the registry would keep itself alive.
    running: Option<Arc<Running>>,
}

#[derive(Debug)]
struct Running {
    ca_certificate: Option<String>,
    listeners: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

/// How it is reached.
impl Registry {
    /// Starts one with plain HTTP that lets everybody do everything.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Begins to describe one with logins, TLS or ways of its own.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    pub(crate) fn within(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), running: None }
    }

    /// Returns what names of its images begin with, such as `127.0.0.1:40123`.
    pub fn host(&self) -> String {
        let url = self.url();
        url.split_once("://").map_or_else(String::new, |(_, host)| host.to_owned())
    }

    /// Returns its address with the scheme, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        self.shared.lock().url.clone()
    }

    /// Returns what clients call an image of it: `127.0.0.1:40123/team/api:1`.
    ///
    /// # Panics
    /// If `image` cannot be a name.
    #[track_caller]
    pub fn reference(&self, image: &str) -> ImageReference {
        let text = format!("{}/{image}", self.host());
        text.parse().unwrap_or_else(|error| panic!("`{image}` cannot be the name of an image: {error}"))
    }

    /// Returns the certificate of the authority that clients have to trust, as PEM; `None` without TLS.
    pub fn ca_certificate(&self) -> Option<String> {
        self.running.as_ref()?.ca_certificate.clone()
    }

    /// Returns a Docker configuration (`config.json`) with this login for it.
    pub fn docker_config(&self, user: &str, password: &str) -> String {
        json!({ "auths": { self.host(): { "username": user, "password": password } } }).to_string()
    }

    /// Returns a Secret of Kubernetes in the namespace `default` with this login for it, as `imagePullSecrets` name one: to be put into a
    /// [`FakeCluster`](crate::kubernetes::FakeCluster::put).
    pub fn pull_secret(&self, name: &str, user: &str, password: &str) -> serde_json::Value {
        let config = k8s_openapi::ByteString(self.docker_config(user, password).into_bytes());
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": { "name": name, "namespace": "default" }, "data": { ".dockerconfigjson": config },
        })
    }

    /// Serves a connection that the test has made itself, such as one end of [`tokio::io::duplex`], without TLS, until it ends.
    pub fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let _counted = shared.count_connection();
            server::serve(Arc::clone(&shared), stream, Side::Registry).await;
        });
    }
}

/// What goes wrong in it, and what it was asked.
impl Registry {
    /// Adds a fault: something goes wrong with the requests that it is about.
    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Removes all faults, including those that no request has met yet.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Limits how many requests are answered within a time. The time begins with the first request, by Tokio's clock. Further requests are refused
    /// with `429 Too Many Requests`, and `Retry-After` has the seconds that are left. All requests count together, whoever sends them.
    pub fn limit_rate(&self, requests: usize, window: Duration) {
        self.shared.lock().limit = Some(RateLimit::new(requests, window));
    }

    /// Sets the password of `user`. From now on nobody is let in without a password.
    pub fn set_login(&self, user: impl Into<String>, password: impl Into<String>) {
        self.shared.lock().logins.passwords.insert(user.into(), password.into());
    }

    /// Takes back all tokens that the token server has given out.
    pub fn revoke_tokens(&self) {
        self.shared.lock().logins.revoke_tokens();
    }

    /// Returns the requests so far, those to its token server and to its storage included, in the order in which they were read to their end.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// Counts the requests of a method for a path in which `*` stands for any text: see [`Request::matches`].
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.shared.lock().requests.iter().filter(|request| request.matches(method, path)).count()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.lock().forget_requests();
    }

    /// Counts its connections.
    pub fn connections(&self) -> Connections {
        self.shared.lock().connections
    }
}
