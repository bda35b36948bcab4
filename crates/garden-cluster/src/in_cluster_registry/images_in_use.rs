use futures::future::try_join_all;
use garden_registry::clean_up::ImagesInUse;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, PodTemplate, ReplicationController};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use crate::api::{Cluster, ClusterError, ask};

/// How many objects are asked for at a time, as kubectl does.
const PAGE: u32 = 500;

/// How often a list is begun that takes so long that the API server forgets what the next page is.
const TRIES: usize = 3;

/// Reads which images the objects of all namespaces name from which Kubernetes makes containers, or has made them:
/// workloads that run nothing at present, and earlier revisions that they can be rolled back to, too.
///
/// Kinds that other programs have brought into the cluster are not among them; the pods that they make are.
///
/// # Errors
/// If one kind of object cannot be listed, because then nobody knows what is in use: the error names it.
pub async fn images_in_use(cluster: &Cluster) -> Result<ImagesInUse, ClusterError> {
    let lists = kinds().into_iter().map(|kind| async move { list(cluster, &kind).await });
    let mut in_use = ImagesInUse::new();
    for (user, images) in try_join_all(lists).await?.into_iter().flatten() {
        for image in images {
            in_use.add(&image, user.clone());
        }
    }
    Ok(in_use)
}

/// The kinds that have a pod's specification in them. Revisions are those of `StatefulSets` and `DaemonSets`; a
/// Deployment's are `ReplicaSets`.
fn kinds() -> [ApiResource; 10] {
    [
        ApiResource::erase::<Pod>(&()),
        ApiResource::erase::<PodTemplate>(&()),
        ApiResource::erase::<ReplicationController>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<DaemonSet>(&()),
        ApiResource::erase::<ControllerRevision>(&()),
        ApiResource::erase::<Job>(&()),
        ApiResource::erase::<CronJob>(&()),
    ]
}

/// Returns all objects of a kind, as messages name them, with their images.
async fn list(cluster: &Cluster, kind: &ApiResource) -> Result<Vec<(String, Vec<String>)>, ClusterError> {
    let mut tries = 1;
    loop {
        match list_once(cluster, kind).await {
            // 410: the page's token has expired.
            Err(error) if error.code() == Some(410) && tries < TRIES => tries += 1,
            listed => return listed,
        }
    }
}

async fn list_once(
    cluster: &Cluster,
    kind: &ApiResource,
) -> Result<Vec<(String, Vec<String>)>, ClusterError> {
    let objects: Api<DynamicObject> = Api::all_with(cluster.client().clone(), kind);
    let action = format!("list {} in all namespaces", kind.plural);
    let (mut found, mut parameters) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let page = ask(&action, || objects.list(&parameters)).await?;
        for object in &page.items {
            let mut images = Vec::new();
            collect(&object.data, &mut images);
            let namespace = object.namespace().unwrap_or_default();
            found.push((format!("{} {namespace}/{}", kind.kind, object.name_any()), images));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// Collects what stands under the names that images have in all objects: `image` and `imageID` of containers of
/// every sort and their states, and `image.reference` of volumes. So no place can be overlooked, nor one that
/// Kubernetes has yet to invent.
fn collect(value: &Value, images: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("image" | "imageID" | "reference", Value::String(image)) => images.push(image.clone()),
                    _ => collect(value, images),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, images)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn images(object: &Value) -> Vec<String> {
        let mut images = Vec::new();
        collect(object, &mut images);
        images.sort();
        images
    }

    #[test]
    fn every_place_for_an_image_in_a_pod_is_read() {
        let pod = json!({
            "spec": {
                "containers": [{ "name": "a", "image": "container" }],
                "initContainers": [{ "name": "b", "image": "init container" }],
                "ephemeralContainers": [{ "name": "c", "image": "ephemeral container" }],
                "volumes": [{ "name": "d", "image": { "reference": "volume", "pullPolicy": "Always" } }],
            },
            "status": {
                "containerStatuses": [{ "image": "status", "imageID": "id" }],
                "initContainerStatuses": [{ "image": "init status", "imageID": "init id" }],
                "ephemeralContainerStatuses": [{ "image": "ephemeral status", "imageID": "ephemeral id" }],
            },
        });
        let expected = [
            "container",
            "ephemeral container",
            "ephemeral id",
            "ephemeral status",
            "id",
            "init container",
            "init id",
            "init status",
            "status",
            "volume",
        ];
        assert_eq!(images(&pod), expected);
    }

    #[test]
    fn templates_are_read_however_deep_they_lie() {
        let template = json!({ "spec": { "containers": [{ "image": "image" }] } });
        for object in [
            json!({ "spec": { "replicas": 0, "template": template } }),
            json!({ "spec": { "suspend": true, "jobTemplate": { "spec": { "template": template } } } }),
            json!({ "template": template }),
            json!({ "revision": 1, "data": { "spec": { "template": template } } }),
        ] {
            assert_eq!(images(&object), ["image"], "{object}");
        }
    }
}
