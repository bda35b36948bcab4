use std::collections::BTreeMap;

use garden_build_core::SweepReport;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;

use crate::api::{Cluster, ClusterError, ask};
use crate::ownership::Ownership;
use crate::ownership::{MANAGED_BY_LABEL, MANAGER};

/// Removes the pods and secrets in `namespace` whose builds have lost their client.
///
/// # Errors
/// If the objects cannot be listed or deleted. In a namespace that does not exist, there are none.
pub async fn sweep(cluster: &Cluster, namespace: &str) -> Result<SweepReport, ClusterError> {
    let owned = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
    let (pods, secrets) = (cluster.api::<Pod>(namespace), cluster.api::<Secret>(namespace));
    let (list_pods, list_secrets) =
        (format!("list Pods in {namespace}"), format!("list Secrets in {namespace}"));
    let (pods, secrets, now) = tokio::try_join!(
        ask(&list_pods, || pods.list_metadata(&owned)),
        ask(&list_secrets, || secrets.list_metadata(&owned)),
        cluster.server_time(),
    )?;

    let objects: Vec<Found> = pods
        .items
        .iter()
        .filter_map(|pod| Found::read(Kind::Pod, &pod.metadata))
        .chain(secrets.items.iter().filter_map(|secret| Found::read(Kind::Secret, &secret.metadata)))
        .collect();

    let mut removed = Vec::new();
    let mut failure = None;
    for object in abandoned(&objects, now) {
        let deleted = match object.kind {
            Kind::Pod => cluster.delete::<Pod>(namespace, &object.name).await,
            Kind::Secret => cluster.delete::<Secret>(namespace, &object.name).await,
        };
        match deleted {
            Ok(()) => removed.push(format!("{:?} {namespace}/{}", object.kind, object.name)),
            // The others may still go.
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(SweepReport::new(removed)), Err)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Pod,
    Secret,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    kind: Kind,
    name: String,
    ownership: Ownership,
}

impl Found {
    fn read(kind: Kind, metadata: &ObjectMeta) -> Option<Self> {
        Some(Self { kind, name: metadata.name.clone()?, ownership: Ownership::of(metadata)? })
    }
}

/// Chooses what to remove: the objects of builds of which not one object has a lease still running.
///
/// Only a build's pod is renewed, so its secret lives on the pod's lease; a secret whose pod was
/// never created goes when its own first lease ends.
fn abandoned(objects: &[Found], now: Timestamp) -> Vec<&Found> {
    let mut expiry_of_build: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for object in objects {
        let expiry = expiry_of_build.entry(&object.ownership.build).or_insert(Timestamp::MIN);
        *expiry = (*expiry).max(object.ownership.lease_expires);
    }
    objects.iter().filter(|object| expiry_of_build[object.ownership.build.as_str()] < now).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn found(kind: Kind, build: &str, expires: i64) -> Found {
        let ownership = Ownership { build: build.to_owned(), lease_expires: at(expires) };
        Found { kind, name: format!("{kind:?}-{build}"), ownership }
    }

    #[test]
    fn only_builds_without_any_running_lease_are_removed_and_then_wholly() {
        let objects = [
            found(Kind::Pod, "dead", 10),
            found(Kind::Secret, "dead", 5),
            found(Kind::Pod, "alive", 100),
            found(Kind::Secret, "alive", 5),
            found(Kind::Secret, "never-got-a-pod", 5),
            found(Kind::Secret, "about-to-get-a-pod", 90),
        ];
        let names: Vec<&str> =
            abandoned(&objects, at(50)).iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["Pod-dead", "Secret-dead", "Secret-never-got-a-pod"]);
    }

    #[test]
    fn a_lease_that_ends_now_still_runs() {
        assert!(abandoned(&[found(Kind::Pod, "a", 50)], at(50)).is_empty());
    }
}
