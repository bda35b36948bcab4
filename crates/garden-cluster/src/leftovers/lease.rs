use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use crate::api::answer;
use crate::api::{Cluster, ClusterError};
use crate::ownership::LEASE_ANNOTATION;
use crate::ownership::Ownership;

/// How long a build's objects outlive the last sign of life of its client.
const DURATION: Duration = Duration::from_secs(60);

/// How often a living client renews: three renewals may fail before anyone takes it for dead.
const RENEWAL: Duration = Duration::from_secs(15);

/// A build's claim on its objects. Renewed while the client lives; once expired, anyone may sweep.
///
/// Written in the API server's time, so that wrong clocks do no harm. Between two questions for it,
/// this machine's monotonic clock continues it.
#[derive(Clone, Debug)]
pub struct Lease {
    build: String,
    server_time: Timestamp,
    taken_at: Instant,
}

impl Lease {
    /// Starts the lease of `build` at the API server's present time.
    ///
    /// # Errors
    /// If the API server cannot be reached.
    pub async fn start(cluster: &Cluster, build: impl Into<String>) -> Result<Self, ClusterError> {
        let server_time = cluster.server_time().await?;
        Ok(Self { build: build.into(), server_time, taken_at: Instant::now() })
    }

    /// Returns the API server's present time.
    pub fn now(&self) -> Timestamp {
        later(self.server_time, self.taken_at.elapsed())
    }

    /// Returns the marks for an object that is created, or renewed, now.
    pub fn ownership(&self) -> Ownership {
        Ownership { build: self.build.clone(), lease_expires: later(self.now(), DURATION) }
    }

    /// Renews the lease on the pod `name` for as long as the future is polled.
    ///
    /// A renewal that fails is only logged: the next one may succeed, and a pod that is gone ends
    /// the build anyway.
    pub async fn keep_renewing(&self, cluster: &Cluster, namespace: &str, name: &str) -> Infallible {
        let pods = cluster.api::<Pod>(namespace);
        loop {
            tokio::time::sleep(RENEWAL).await;
            // Asked anew, because this machine's clock stands still while the machine sleeps.
            let now = cluster.server_time().await.unwrap_or_else(|_| self.now());
            let expires = later(now, DURATION).to_string();
            let patch = json!({ "metadata": { "annotations": { LEASE_ANNOTATION: expires } } });
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
            if let Err(error) = answer("renew a lease", pods.patch_metadata(name, &parameters, &patch)).await
            {
                tracing::warn!(%error, namespace, name, "could not renew the lease of a build");
            }
        }
    }
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX)
}
