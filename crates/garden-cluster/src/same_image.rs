//! Which builds of other clients push to the same tag: those whose pods were there first.
//!
//! Clients that begin at the same time must agree on who of them is first, though each knows only what the API server shows it. So each creates its
//! pod, and then looks at the namespace as it was at that very moment: it sees exactly those that came before, however soon after one another they were
//! created. Of two, one sees the other, and never both.
//!
//! Why: docs/decisions/27-two-clients-one-image.md

use garden_build_core::{Digest, ImageReference};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::{Cluster, ClusterError};
use crate::ownership::{MANAGED_BY_LABEL, MANAGER, is_of_build, lease_of};

/// The label of a build's pod that says which tag it pushes to.
const DESTINATION_LABEL: &str = "garden-build/destination";

/// How many hexadecimal digits of the destination's digest are in the label. A label has 63 characters at most.
const DIGITS: usize = 40;

/// The pod of a build that was there before another one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EarlierBuild {
    created: Timestamp,
    /// The pod's name.
    pub name: String,
    /// What tells it from another pod of its name.
    pub uid: String,
}

/// Returns the label for the pod of a build that pushes to `destination`. The name itself may be too long for one.
pub fn destination_label(destination: &ImageReference) -> (String, String) {
    let mut digits = Digest::of(destination.to_string().as_bytes()).hex();
    digits.truncate(DIGITS);
    (DESTINATION_LABEL.to_owned(), digits)
}

/// Returns the builds that push to the `destination` of the build whose pod is `own`, and whose pods were created before it in the same namespace and
/// ran then, or were about to: the first of them first. `own` has to be as it was created.
///
/// # Errors
/// If the API server refuses or cannot be reached.
pub async fn builds_begun_before(
    cluster: &Cluster,
    own: &Pod,
    destination: &ImageReference,
) -> Result<Vec<EarlierBuild>, ClusterError> {
    let (label, value) = destination_label(destination);
    let labels = format!("{MANAGED_BY_LABEL}={MANAGER},{label}={value}");
    let metadata = &own.metadata;
    let (Some(namespace), Some(moment)) = (&metadata.namespace, &metadata.resource_version) else {
        return Ok(Vec::new());
    };
    let pods = cluster.list_at::<Pod>(namespace, &labels, moment).await?;
    Ok(earlier(&pods, own))
}

/// Chooses those of `pods` that were there before `own`, and whose builds may still push something.
fn earlier(pods: &[Pod], own: &Pod) -> Vec<EarlierBuild> {
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    // The API server's time, like all others here.
    let Some(now) = created(own) else { return Vec::new() };
    let mut earlier: Vec<_> = pods
        .iter()
        .filter(|pod| pod.metadata.uid != own.metadata.uid && may_push(pod, now))
        // If creating the pod took two requests, as an answer was lost, later ones may be there already.
        .filter(|pod| created(pod).is_some_and(|created| created <= now))
        .filter_map(|pod| {
            let (name, uid) = (pod.metadata.name.clone()?, pod.metadata.uid.clone()?);
            Some(EarlierBuild { created: created(pod)?, name, uid })
        })
        .collect();
    earlier.sort();
    earlier
}

/// Whether a build may still push something, by what its pod shows: anybody who may create pods can put one there. It runs, or will; its client renews
/// its lease; and its time is not over.
fn may_push(pod: &Pod, now: Timestamp) -> bool {
    let has_ended = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"));
    let is_leased = lease_of(&pod.metadata).is_some_and(|end| end >= now);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let limit = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let in_time = created.zip(limit).is_some_and(|(created, seconds)| {
        created.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX) >= now
    });
    is_of_build(&pod.metadata)
        && pod.metadata.deletion_timestamp.is_none()
        && !has_ended
        && is_leased
        && in_time
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    use super::*;
    use crate::ownership::Ownership;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// A pod that was created at this second, may run for 100 s, and has a lease of 60 s.
    fn pod(name: &str, second: i64) -> Pod {
        let ownership = Ownership { build: name.to_owned(), lease_expires: at(second + 60) };
        Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                uid: Some(format!("uid of {name}")),
                labels: Some(ownership.labels()),
                annotations: Some(ownership.annotations()),
                creation_timestamp: Some(Time(at(second))),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec { active_deadline_seconds: Some(100), ..PodSpec::default() }),
            status: Some(PodStatus { phase: Some("Running".to_owned()), ..PodStatus::default() }),
        }
    }

    fn names(pods: &[Pod]) -> Vec<String> {
        earlier(pods, &pod("own", 50)).into_iter().map(|pod| pod.name).collect()
    }

    #[test]
    fn what_was_there_before_comes_in_the_order_of_its_creation() {
        let pods = [pod("same-second", 50), pod("own", 50), pod("b", 20), pod("c", 10), pod("later", 51)];
        assert_eq!(names(&pods), ["c", "b", "same-second"]);
        assert_eq!(names(&[pod("own", 50)]), [""; 0]);
    }

    #[test]
    fn a_pod_that_can_push_nothing_any_more_does_not_count() {
        let change = |change: fn(&mut Pod)| {
            let mut pod = pod("other", 40);
            change(&mut pod);
            names(&[pod]).len()
        };
        assert_eq!(change(|_| {}), 1);
        assert_eq!(change(|pod| pod.status = None), 1, "it was just created");
        let without: [fn(&mut Pod); 8] = [
            |pod| pod.status.get_or_insert_default().phase = Some("Succeeded".to_owned()),
            |pod| pod.status.get_or_insert_default().phase = Some("Failed".to_owned()),
            |pod| pod.metadata.deletion_timestamp = Some(Time(at(45))),
            // Its client is dead. A pod without a lease does not belong to one of our clients.
            |pod| {
                pod.metadata.annotations =
                    Some(Ownership { build: String::new(), lease_expires: at(49) }.annotations());
            },
            |pod| pod.metadata.annotations = None,
            |pod| pod.metadata.labels = None,
            |pod| pod.spec.get_or_insert_default().active_deadline_seconds = Some(9),
            |pod| pod.spec.get_or_insert_default().active_deadline_seconds = None,
        ];
        for (number, without) in without.into_iter().enumerate() {
            assert_eq!(change(without), 0, "{number}");
        }
    }

    #[test]
    fn a_label_is_short_enough_and_that_of_one_tag() {
        let label = |name: &str| destination_label(&name.parse().expect("a reference")).1;
        let long = format!("registry.example/{}/api:v-1", "a".repeat(100));
        assert!(label(&long).len() <= 63);
        assert_ne!(label("registry.example/api:v-1"), label("registry.example/api:v-2"));
        assert_ne!(label("registry.example/api:v-1"), label("other.example/api:v-1"));
    }
}
