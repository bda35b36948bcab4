use std::time::Duration;

use garden_build_core::SweepReport;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;

use crate::api::{Cluster, ClusterError, ask};
use crate::ownership::{MANAGED_BY_LABEL, MANAGER, is_of_build, lease_of};

/// How old a pod may become that has no lease, or one that no client of ours writes: a living client puts its own back within
/// seconds, so by then there is none.
const WITHOUT_LEASE: Duration = Duration::from_secs(3600);

/// How often it is looked again at pods that change just before they are removed.
const PASSES: usize = 3;

/// Removes the pods in `namespace` whose builds have lost their client. Their Secrets, which they own, go with them.
///
/// A pod that changes meanwhile stays until it was looked at again: its client may have renewed its lease.
///
/// # Errors
/// If the pods cannot be listed or deleted. In a namespace that does not exist, there are none.
pub async fn sweep(cluster: &Cluster, namespace: &str) -> Result<SweepReport, ClusterError> {
    let owned = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
    let (pods, list_pods) = (cluster.api::<Pod>(namespace), format!("list Pods in {namespace}"));
    let mut removed = Vec::new();
    for _ in 0..PASSES {
        let (pods, now) =
            tokio::try_join!(ask(&list_pods, || pods.list_metadata(&owned)), cluster.server_time())?;
        let (mut failure, mut has_changed) = (None, false);
        for pod in pods.items.iter().filter(|pod| is_abandoned(&pod.metadata, now)) {
            match cluster.delete_unchanged::<Pod>(namespace, &pod.metadata).await {
                Ok(true) => {
                    let name = pod.metadata.name.as_deref().unwrap_or_default();
                    removed.push(format!("Pod {namespace}/{name}"));
                }
                Ok(false) => has_changed = true,
                // The others may still go.
                Err(error) => failure = Some(error),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if !has_changed {
            break;
        }
    }
    Ok(SweepReport::new(removed))
}

/// Whether a pod is that of a build whose client is dead.
fn is_abandoned(metadata: &ObjectMeta, now: Timestamp) -> bool {
    let after = |time: Timestamp| {
        time.checked_add(SignedDuration::try_from(WITHOUT_LEASE).unwrap_or(SignedDuration::MAX))
            .unwrap_or(Timestamp::MAX)
    };
    // Nobody's lease ends so late.
    let lease = lease_of(metadata).filter(|lease| *lease <= after(now));
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    is_of_build(metadata) && lease.or_else(|| created.map(after)).is_some_and(|end| end < now)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::ownership::{LEASE_ANNOTATION, Ownership};

    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// A pod that was created at second 0.
    fn pod(lease: Option<&str>) -> ObjectMeta {
        let ownership = Ownership { build: "a".to_owned(), lease_expires: at(0) };
        let mut annotations = ownership.annotations();
        match lease {
            Some(lease) => annotations.insert(LEASE_ANNOTATION.to_owned(), lease.to_owned()),
            None => annotations.remove(LEASE_ANNOTATION),
        };
        ObjectMeta {
            labels: Some(ownership.labels()),
            annotations: Some(annotations),
            creation_timestamp: Some(Time(at(0))),
            ..ObjectMeta::default()
        }
    }

    fn leased_until(second: i64) -> ObjectMeta {
        pod(Some(&at(second).to_string()))
    }

    #[test]
    fn a_pod_goes_when_its_lease_has_ended_and_not_before() {
        assert!(is_abandoned(&leased_until(49), at(50)));
        assert!(!is_abandoned(&leased_until(50), at(50)), "it still runs");
        assert!(!is_abandoned(&leased_until(20 * HOUR), at(20 * HOUR)), "however old it is");
        assert!(!is_abandoned(&ObjectMeta { labels: None, ..leased_until(1) }, at(50)));
    }

    #[test]
    fn a_pod_without_a_lease_that_anybody_would_write_goes_by_its_age() {
        for lease in [None, Some(""), Some("never"), Some("9999-01-01T00:00:00Z")] {
            assert!(!is_abandoned(&pod(lease), at(HOUR)), "{lease:?}");
            assert!(is_abandoned(&pod(lease), at(HOUR + 1)), "{lease:?}");
        }
    }
}
