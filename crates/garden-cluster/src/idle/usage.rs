//! Saying that a Deployment of ours is in use.

use std::convert::Infallible;
use std::time::Duration;

use garden_build_core::EventSink;
use garden_config::IdleAfter;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use tokio::time::sleep;

use super::record;
use crate::api::{Cluster, ClusterError};
use crate::renewal::Renewal;
use crate::service::{Sight, is_stopped};

/// How often whoever uses one looks whether that is known. Another one who uses it may want it kept for the shortest time that there is,
/// which is five times as long.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// States that the Deployment `name` is in use from now on, by somebody who wants it kept for `idle_after`, unless that is known: it was
/// just `seen`. Starts it again if it was scaled to zero because nobody used it. Returns it as it is then, with those of its pods that
/// can be relied on.
///
/// # Errors
/// If it cannot be started again. It is not an error if its use cannot be recorded: whoever may only look can build all the same.
pub(crate) async fn begin(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    seen: Sight,
    idle_after: IdleAfter,
) -> Result<Sight, ClusterError> {
    let Some(live) = &seen.live else { return Ok(seen) };
    if record::is_asleep(live) {
        return wake(cluster, namespace, name, seen, idle_after).await;
    }
    if is_stopped(live) || !record::is_news(live, seen.now, idle_after) {
        return Ok(seen);
    }
    match cluster.merge::<Deployment>(namespace, name, &record::begun(seen.now, idle_after)).await {
        Ok(now) if is_stopped(&now) => {
            // Between our look and our word: the pods that were seen are on their way out.
            let by_us = record::stopped_at(&now) != record::stopped_at(live);
            let seen = Sight { live: Some(now), pods: Vec::new(), ..seen };
            if by_us { wake(cluster, namespace, name, seen, idle_after).await } else { Ok(seen) }
        }
        Ok(now) => Ok(Sight { live: Some(now), ..seen }),
        Err(error) if error.code() == Some(404) => Ok(Sight { live: None, pods: Vec::new(), ..seen }),
        Err(error) => {
            tracing::debug!(%error, namespace, name, "cannot say that a Deployment is in use");
            Ok(seen)
        }
    }
}

async fn wake(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    seen: Sight,
    idle_after: IdleAfter,
) -> Result<Sight, ClusterError> {
    let live = match cluster.merge(namespace, name, &record::woken(seen.now, idle_after)).await {
        Ok(woken) => Some(woken),
        Err(error) if error.code() == Some(404) => None,
        Err(error) => return Err(error),
    };
    // The pods that were seen were stopping.
    Ok(Sight { live, pods: Vec::new(), ..seen })
}

/// Keeps recording that the Deployment `name` is in use, before somebody could take it for unused. Does nothing if it is kept
/// for ever, is not ours or was stopped. If the record cannot be written, a warning goes to `events`.
pub(crate) async fn keep(cluster: &Cluster, namespace: &str, name: &str, events: &EventSink) -> Infallible {
    let mut renewal = Renewal::new(events);
    loop {
        sleep(LOOK_EVERY).await;
        let (live, now) = match cluster.get_dated::<Deployment>(namespace, name).await {
            Ok((Some(live), now)) if is_to_be_told(&live, now) => (live, now),
            Ok(_) => continue,
            Err(error) => {
                // There is time for the next look.
                tracing::debug!(%error, namespace, name, "cannot see whether a Deployment is known to be in use");
                continue;
            }
        };
        let going_on = record::going_on(&live, now);
        match cluster.merge::<Deployment>(namespace, name, &going_on).await {
            Ok(_) => renewal.succeeded(|| format!("Deployment {namespace}/{name} is marked as in use again")),
            Err(error) if error.code() == Some(404) => {}
            Err(error) => renewal.failed(
                || {
                    format!(
                        "Deployment {namespace}/{name} could not be marked as in use: {error}. If that goes on, others take it for unused and scale it to \
                         zero, which ends this build"
                    )
                },
                || {
                    format!(
                        "check the connection to the cluster, and that this user may patch deployments in Namespace {namespace}; it is tried every {} s. A \
                         longer `idleAfter` leaves more time",
                        LOOK_EVERY.as_secs()
                    )
                },
            ),
        }
    }
}

fn is_to_be_told(live: &Deployment, now: Timestamp) -> bool {
    record::is_ours(live) && !is_stopped(live) && record::is_stale(live, now)
}
