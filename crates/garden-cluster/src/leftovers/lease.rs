use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use garden_build_core::{Error, ErrorKind, EventSink, Remedy};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use crate::api::answer;
use crate::api::{Cluster, ClusterError};
use crate::ownership::LEASE_ANNOTATION;
use crate::ownership::Ownership;
use crate::renewal::Renewal;

/// How long a build's objects outlive the last sign of life of its client.
const DURATION: Duration = Duration::from_secs(60);

/// How often a living client renews: three renewals may fail before anyone takes it for dead.
const RENEWAL: Duration = Duration::from_secs(15);

/// A build's claim on its objects. Renewed while the client lives; once expired, anyone may sweep.
///
/// Written in the API server's time, so that wrong clocks do no harm. Between two questions for it,
/// this machine's monotonic clock continues it.
#[derive(Debug)]
pub struct Lease {
    build: String,
    server_time: Timestamp,
    taken_at: Instant,
    /// When it ends, as it was written last.
    ends: Mutex<Timestamp>,
}

impl Lease {
    /// Starts the lease of `build` at the API server's present time.
    ///
    /// # Errors
    /// If the API server cannot be reached.
    pub async fn start(cluster: &Cluster, build: impl Into<String>) -> Result<Self, ClusterError> {
        let server_time = cluster.server_time().await?;
        let ends = Mutex::new(later(server_time, DURATION));
        Ok(Self { build: build.into(), server_time, taken_at: Instant::now(), ends })
    }

    fn ends(&self) -> MutexGuard<'_, Timestamp> {
        // It is always whole, so a panic elsewhere does not spoil it.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the API server's present time.
    pub fn now(&self) -> Timestamp {
        later(self.server_time, self.taken_at.elapsed())
    }

    /// Returns the marks for an object that is created, or renewed, now.
    pub fn ownership(&self) -> Ownership {
        let lease_expires = later(self.now(), DURATION);
        *self.ends() = lease_expires;
        Ownership { build: self.build.clone(), lease_expires }
    }

    /// Renews the lease on the pod `name` for as long as the future is polled.
    ///
    /// A renewal that fails does not end the build: the next one may succeed. `events` hear of it, as others may remove the pod. A pod that is
    /// gone ends the build anyway.
    pub async fn keep_renewing(
        &self,
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        events: &EventSink,
    ) -> Infallible {
        let pods = cluster.api::<Pod>(namespace);
        let mut renewal = Renewal::new(events);
        loop {
            tokio::time::sleep(RENEWAL).await;
            // Asked anew, because this machine's clock stands still while the machine sleeps.
            let now = cluster.server_time().await.unwrap_or_else(|_| self.now());
            let expires = later(now, DURATION);
            let patch = json!({ "metadata": { "annotations": { LEASE_ANNOTATION: expires.to_string() } } });
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
            match answer("renew a lease", pods.patch_metadata(name, &parameters, &patch)).await {
                Ok(_) => {
                    *self.ends() = expires;
                    renewal.succeeded(|| format!("the lease on Pod {namespace}/{name} is renewed again, until {expires}"));
                }
                Err(error) if error.code() == Some(404) => {}
                Err(error) => renewal.failed(
                    || {
                        let ends = *self.ends();
                        format!(
                            "the lease on Pod {namespace}/{name} could not be renewed: {error}. If it is not renewed before {ends}, other builds take this \
                             client for dead and remove the pod"
                        )
                    },
                    || format!("check the connection to the cluster, and that this user may patch pods in Namespace {namespace}; the renewal is tried every {} s", RENEWAL.as_secs()),
                ),
            }
        }
    }

    /// Explains to a build that has lost its pod `name`, if this is the reason, that it was removed because this client did not renew the lease: it slept, or
    /// did not reach the cluster.
    pub async fn explain(&self, cluster: &Cluster, namespace: &str, name: &str, error: Error) -> Error {
        if error.kind() != ErrorKind::BuilderLost {
            return error;
        }
        // In the server's time, as this machine's clock may have stood still.
        let (Ok(now), Ok(None)) = tokio::join!(cluster.server_time(), cluster.get::<Pod>(namespace, name))
        else {
            return error;
        };
        let ended = *self.ends();
        if now <= ended {
            return error;
        }
        let message = format!(
            "{}: its lease had ended at {ended}, since this client was asleep or did not reach the cluster for {} s or more, and was taken for dead",
            error.message(),
            DURATION.as_secs()
        );
        let (kind, tail) = (error.kind(), error.log_tail().to_vec());
        Error::new(kind, message)
            .with_hint(Remedy::build_again("build again"))
            .with_log_tail(tail)
            .with_source(error)
            .retryable()
    }
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX)
}
