//! Volumes of services: claimed once, enlarged, never made smaller or removed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use garden_build_core::ErrorKind;
use k8s_openapi::api::core::v1::{
    Event, PersistentVolumeClaim, PersistentVolumeClaimSpec, Pod, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use crate::api::name_of;
use crate::api::{Cluster, ClusterError};
use crate::diagnosis::{Diagnosis, Trouble};
use crate::pod::latest_message;

/// A volume that was made by hand just now is found a little later.
const VOLUME_GRACE: Duration = Duration::from_secs(8);

/// Returns a claim to a volume of that `size` that one node can use.
pub fn volume_claim(
    metadata: ObjectMeta,
    size: Quantity,
    storage_class: Option<String>,
) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage_class,
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// Makes sure of a claim to a volume, and returns what the user should hear: that it keeps its size
/// although another is wanted, and why.
///
/// # Errors
/// If the API server refuses or cannot be reached. That a volume cannot be enlarged is no error: a service runs with what there is.
pub async fn ensure_claim(
    cluster: &Cluster,
    wanted: &PersistentVolumeClaim,
) -> Result<Option<String>, ClusterError> {
    let namespace = wanted.metadata.namespace.as_deref().unwrap_or_default();
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    let Some(live) = cluster.get::<PersistentVolumeClaim>(namespace, name).await? else {
        return cluster.apply(wanted).await.map(|_| None);
    };
    let warning =
        |problem: &str| Some(format!("{} keeps its size of {}: {problem}", name_of(&live), size(&live)));
    match compare(size(&live), size(wanted)) {
        Some(Ordering::Less) => {
            let patch = json!({ "spec": { "resources": { "requests": { "storage": size(wanted) } } } });
            match cluster.merge::<PersistentVolumeClaim>(namespace, name, &patch).await {
                // Its storage class may not allow it. The server shows what differs in the lines that follow.
                Err(ClusterError::Refused { status, .. }) => {
                    Ok(warning(status.message.lines().next().unwrap_or_default()))
                }
                resized => resized.map(|_| None),
            }
        }
        Some(Ordering::Greater) => Ok(warning("a volume cannot be made smaller")),
        Some(Ordering::Equal) | None => Ok(None),
    }
}

/// Whether the pod waits for its volume. The events about the claim then tell more than the pod's own.
pub fn lacks_volume(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.message.as_deref().is_some_and(|message| message.contains("unbound immediate"))
    })
}

/// Says why the claim `claim` of `pod` gets no volume, if nobody is going to make one: its class does not exist, or it
/// has none and there is no default. What a provisioner has failed to do, it tries again. `events` are about the
/// claim, and `option` is where its class is set.
pub fn volume_trouble(pod: &Pod, claim: &str, option: &str, events: &[Event]) -> Option<Trouble> {
    lacks_volume(pod).then_some(())?;
    let refused =
        latest_message(events, "ProvisioningFailed").filter(|message| message.contains("storageclass"));
    let refused = refused.filter(|message| message.contains("not found"));
    let reason = refused.or_else(|| latest_message(events, "FailedBinding"))?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let diagnosis = Diagnosis {
        kind: ErrorKind::BuilderStart,
        message: format!("PersistentVolumeClaim {namespace}/{claim} gets no volume: {reason}"),
        // A claim keeps its class: to set another one is not enough.
        hint: Some(format!("set `{option}` to a class of the cluster, and delete this claim")),
        retryable: false,
    };
    Some(Trouble { diagnosis, grace: VOLUME_GRACE })
}

fn size(claim: &PersistentVolumeClaim) -> &str {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")).map_or("", |quantity| quantity.0.as_str())
}

/// Compares the present size with the wanted one; `None` if one of them cannot be read.
fn compare(present: &str, wanted: &str) -> Option<Ordering> {
    Some(bytes(present)?.cmp(&bytes(wanted)?))
}

/// Reads a whole Kubernetes quantity, as sizes of claims are.
fn bytes(quantity: &str) -> Option<u128> {
    let digits = quantity.find(|character: char| !character.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(digits);
    let unit: u128 = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1000_u128.pow(2),
        "G" => 1000_u128.pow(3),
        "T" => 1000_u128.pow(4),
        "P" => 1000_u128.pow(5),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    number.parse::<u128>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared_whatever_their_units() {
        let cases = [
            ("20Gi", Some(Ordering::Equal)),
            ("20480Mi", Some(Ordering::Equal)),
            ("21474836480", Some(Ordering::Equal)),
            ("20G", Some(Ordering::Less)),
            ("1Ti", Some(Ordering::Greater)),
            ("1.5Gi", None),
        ];
        for (present, expected) in cases {
            assert_eq!(compare(present, "20480Mi"), expected, "{present}");
        }
    }
}
