//! The volume for the daemon's cache: claimed once, enlarged, never made smaller or removed.

use std::cmp::Ordering;

use garden_cluster::{Cluster, ClusterError};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use crate::daemon::Notice;
use crate::spec::{self, NAME, Settings, Storage};

/// Makes sure of the claim, if the settings have a volume.
pub(super) async fn ensure(
    cluster: &Cluster,
    settings: &Settings,
    tell: &mut impl FnMut(Notice),
) -> Result<(), ClusterError> {
    let namespace = settings.namespace.name.as_str();
    let (Some(storage), Some(claim)) = (&settings.options.storage, spec::claim(settings)) else {
        return Ok(());
    };
    let Some(live) = cluster.get::<PersistentVolumeClaim>(namespace, NAME).await? else {
        return cluster.apply(&claim).await.map(drop);
    };
    let warning = |problem: String| Notice::Warning {
        message: format!(
            "PersistentVolumeClaim {namespace}/{NAME} keeps its size of {}: {problem}",
            size(&live)
        ),
        hint: format!(
            "set `clusterBuildkit.storage.size` to its size, or delete the Deployment and the claim {NAME} to start with an empty one"
        ),
    };
    match compare(&live, storage) {
        Some(Ordering::Less) => {
            let patch = json!({ "spec": { "resources": { "requests": { "storage": storage.quantity() } } } });
            let resized = cluster.merge::<PersistentVolumeClaim>(namespace, NAME, &patch).await;
            match resized {
                // Its storage class may not allow it. The daemon runs with what there is.
                Err(ClusterError::Refused { status, .. }) => {
                    // The server shows what differs in the lines that follow.
                    tell(warning(status.message.lines().next().unwrap_or_default().to_owned()));
                }
                resized => drop(resized?),
            }
        }
        Some(Ordering::Greater) => tell(warning("a volume cannot be made smaller".to_owned())),
        Some(Ordering::Equal) | None => {}
    }
    Ok(())
}

fn size(claim: &PersistentVolumeClaim) -> &str {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")).map_or("", |quantity| quantity.0.as_str())
}

/// Compares the claim's present size with the wanted one; `None` if it cannot be read.
fn compare(claim: &PersistentVolumeClaim, wanted: &Storage) -> Option<Ordering> {
    Some(bytes(size(claim))?.cmp(&(u128::from(wanted.size) << 20)))
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

    fn claim(size: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({ "spec": { "resources": { "requests": { "storage": size } } } }))
            .expect("a claim")
    }

    #[test]
    fn sizes_are_compared_whatever_their_units() {
        let wanted = Storage { size: 20_480, storage_class: None };
        let cases = [
            ("20Gi", Some(Ordering::Equal)),
            ("20480Mi", Some(Ordering::Equal)),
            ("21474836480", Some(Ordering::Equal)),
            ("20G", Some(Ordering::Less)),
            ("1Ti", Some(Ordering::Greater)),
            ("1.5Gi", None),
        ];
        for (size, expected) in cases {
            assert_eq!(compare(&claim(size), &wanted), expected, "{size}");
        }
    }
}
