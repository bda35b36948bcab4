//! Volumes of services: claimed once, enlarged, never made smaller or removed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use garden_build_core::{ErrorKind, EventSink, WarningCode};
use k8s_openapi::api::core::v1::{
    Event, PersistentVolumeClaim, PersistentVolumeClaimSpec, Pod, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use crate::api::{Cluster, ClusterError, Refusal, name_of};
use crate::diagnosis::{Diagnosis, Trouble, waits_for_volume};
use crate::pod::latest_message;
use crate::quantity::thousandths;
use crate::service::VolumeWords;

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

/// Makes sure of a claim to a volume. That it keeps a size which is not the wanted one, and why, `events` hear.
pub(super) async fn ensure(
    cluster: &Cluster,
    wanted: &PersistentVolumeClaim,
    words: &VolumeWords,
    events: &EventSink,
) -> Result<(), ClusterError> {
    let namespace = wanted.metadata.namespace.as_deref().unwrap_or_default();
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    let remedy = |refusal| if refusal == Refusal::Quota { Some(words.quota) } else { None };
    let Some(live) = cluster.get::<PersistentVolumeClaim>(namespace, name).await? else {
        return cluster.apply(wanted).await.map(drop).map_err(|error| error.advised(remedy));
    };
    let warn = |problem: &str| {
        let message = format!("{} keeps its size of {}: {problem}", name_of(&live), size(&live));
        events.warn(WarningCode::VolumeSizeKept, message, Some(words.keeps_size.to_string()));
    };
    match compare(size(&live), size(wanted)) {
        Some(Ordering::Less) => {
            let patch = json!({ "spec": { "resources": { "requests": { "storage": size(wanted) } } } });
            match cluster.merge::<PersistentVolumeClaim>(namespace, name, &patch).await {
                // Its storage class may not allow it. The server shows what differs in the lines that follow.
                Err(ClusterError::Refused { status, .. }) => {
                    warn(status.message.lines().next().unwrap_or_default());
                }
                resized => drop(resized?),
            }
        }
        Some(Ordering::Greater) => warn("a volume cannot be made smaller"),
        Some(Ordering::Equal) | None => {}
    }
    Ok(())
}

/// Whether the pod waits for its volume. The events about the claim then tell more than the pod's own.
pub(super) fn lacks_volume(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.message.as_deref().is_some_and(waits_for_volume)
    })
}

/// Explains why the claim of `pod` gets no volume, if nobody is going to make one: its class does not exist, or it has none and
/// there is no default. What a provisioner has failed to do, it tries again. `events` are about the claim.
pub(super) fn volume_trouble(pod: &Pod, words: &VolumeWords, events: &[Event]) -> Option<Trouble> {
    lacks_volume(pod).then_some(())?;
    // Source of the words: Kubernetes 1.34, `apimachinery/pkg/api/errors` (`NewNotFound`).
    let no_class = |message: &&str| {
        message.starts_with("storageclass.storage.k8s.io \"") && message.ends_with("\" not found")
    };
    let refused = latest_message(events, "ProvisioningFailed").filter(no_class);
    let reason = refused.or_else(|| latest_message(events, "FailedBinding"))?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let VolumeWords { claim, storage_class, .. } = words;
    let message = format!("PersistentVolumeClaim {namespace}/{claim} gets no volume: {reason}");
    // A claim keeps its class: to set another one is not enough.
    let hint = format!("set `{storage_class}` to a class of the cluster, and delete this claim");
    Some(Trouble { diagnosis: Diagnosis::other(ErrorKind::BuilderStart, message, hint), grace: VOLUME_GRACE })
}

fn size(claim: &PersistentVolumeClaim) -> &str {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")).map_or("", |quantity| quantity.0.as_str())
}

/// Compares the present size with the wanted one; `None` if one of them cannot be read.
fn compare(present: &str, wanted: &str) -> Option<Ordering> {
    Some(thousandths(present)?.cmp(&thousandths(wanted)?))
}

#[cfg(test)]
mod tests {
    use garden_build_core::{Error, event_channel};

    use super::*;
    use crate::service::daemon::tests::WORDS;

    /// Has a claim made that the API server refuses in these words, and returns the hint.
    async fn refused(message: &str) -> Option<String> {
        let status = |code: u16, reason: &str, message: &str| {
            let body = json!({ "status": "Failure", "reason": reason, "code": code, "message": message });
            http::Response::builder()
                .status(code)
                .body(kube::client::Body::from(body.to_string().into_bytes()))
        };
        let message = message.to_owned();
        let server = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let answer = match *request.method() {
                http::Method::GET => status(404, "NotFound", "not found"),
                _ => status(403, "Forbidden", &message),
            };
            std::future::ready(Ok::<_, std::io::Error>(answer.expect("an answer")))
        });
        let cluster = Cluster::new(kube::Client::new(server, "default"));
        let metadata =
            ObjectMeta { name: Some("data".into()), namespace: Some("demo".into()), ..ObjectMeta::default() };
        let wanted = volume_claim(metadata, Quantity("20Gi".to_owned()), None);
        let words = WORDS.volume.as_ref().expect("it has one");
        let error = ensure(&cluster, &wanted, words, &event_channel().0).await.expect_err("refused");
        Error::from(error).hint().map(str::to_owned)
    }

    #[tokio::test]
    async fn a_volume_that_exceeds_a_quota_is_cured_by_its_own_size() {
        let quota = |requested: &str| {
            format!(
                r#"persistentvolumeclaims "data" is forbidden: exceeded quota: small, requested: {requested}, used: x=1, limited: x=1"#
            )
        };
        assert_eq!(refused(&quota("requests.storage=20Gi")).await.as_deref(), Some("a smaller volume"));
        // No size helps where there may be no further volume.
        let hint = refused(&quota("persistentvolumeclaims=1")).await;
        assert_eq!(hint.as_deref(), Some("raise the namespace's ResourceQuota"));
    }

    #[test]
    fn sizes_are_compared_whatever_their_units() {
        let cases = [
            ("20Gi", Some(Ordering::Equal)),
            ("20480Mi", Some(Ordering::Equal)),
            ("21474836480", Some(Ordering::Equal)),
            ("20G", Some(Ordering::Less)),
            ("1Ti", Some(Ordering::Greater)),
            ("1.5Gi", Some(Ordering::Less)),
            ("large", None),
        ];
        for (present, expected) in cases {
            assert_eq!(compare(present, "20480Mi"), expected, "{present}");
        }
    }
}
