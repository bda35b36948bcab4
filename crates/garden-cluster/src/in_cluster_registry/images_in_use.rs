use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use garden_registry::clean_up::{ImagesInUse, StoredNames};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use crate::api::{Cluster, ClusterError, ask};

mod kinds;

/// How many objects are asked for at a time. Each may have more than a megabyte.
const PAGE: u32 = 200;

/// How many kinds are listed at once.
const AT_ONCE: usize = 8;

/// How often a list is begun that takes so long that the API server forgets what the next page is.
const TRIES: usize = 3;

/// Which images the objects of a cluster name.
#[derive(Clone, Debug, Default)]
pub struct NamedImages {
    /// The images, and what names them.
    pub in_use: ImagesInUse,
    /// The kinds of objects that may name images, too, and that could not be listed, as `kubectl` names them.
    pub not_listed: Vec<String>,
}

/// Reads which images the objects of all namespaces name.
///
/// * The kinds that have a pod's specification, workloads that run nothing at present and earlier revisions among
///   them: every image that is named where Kubernetes takes images from.
/// * The same, `ConfigMaps` and all kinds that other programs have brought into the cluster: what of `stored` stands in any
///   of their texts, such as an argument, a variable, an annotation or a chart's value. Secrets are not read.
///
/// # Errors
/// If one of the kinds that make pods cannot be listed, because then nobody knows what is in use: the error names it. Of the others
/// [`NamedImages::not_listed`] has those which the user may not list, or which the API server does not serve now.
pub async fn images_in_use(cluster: &Cluster, stored: &StoredNames) -> Result<NamedImages, ClusterError> {
    let (others, unknown) = match kinds::others(cluster).await {
        Ok(others) => (others, None),
        Err(error) if is_refused(&error) => (Vec::new(), Some("custom resources".to_owned())),
        Err(error) => return Err(error),
    };
    let kinds = kinds::of_workloads().into_iter().map(|kind| (kind, true));
    let kinds = kinds.chain(others.into_iter().map(|kind| (kind, false)));
    let lists = kinds.map(|(kind, makes_pods)| async move {
        match list(cluster, &kind, makes_pods, stored).await {
            Ok(in_use) => Ok((Some(in_use), None)),
            Err(error) if !makes_pods && is_refused(&error) => Ok((None, Some(kinds::full_name(&kind)))),
            Err(error) => Err(error),
        }
    });
    let lists: Vec<_> = stream::iter(lists).buffer_unordered(AT_ONCE).try_collect().await?;
    let mut named = NamedImages { not_listed: unknown.into_iter().collect(), ..NamedImages::default() };
    for (in_use, not_listed) in lists {
        if let Some(in_use) = in_use {
            named.in_use.extend(in_use);
        }
        named.not_listed.extend(not_listed);
    }
    named.not_listed.sort();
    Ok(named)
}

/// Whether nobody can list this here, which does not pass: it is not allowed (403), not served (404, 405), or served by a
/// program that is not there (503).
fn is_refused(error: &ClusterError) -> bool {
    matches!(error.code(), Some(403 | 404 | 405 | 503))
}

/// Returns what all objects of a kind name.
async fn list(
    cluster: &Cluster,
    kind: &ApiResource,
    makes_pods: bool,
    stored: &StoredNames,
) -> Result<ImagesInUse, ClusterError> {
    let mut tries = 1;
    loop {
        match list_once(cluster, kind, makes_pods, stored).await {
            // 410: the page's token has expired.
            Err(error) if error.code() == Some(410) && tries < TRIES => tries += 1,
            listed => return listed,
        }
    }
}

async fn list_once(
    cluster: &Cluster,
    kind: &ApiResource,
    makes_pods: bool,
    stored: &StoredNames,
) -> Result<ImagesInUse, ClusterError> {
    let objects: Api<DynamicObject> = Api::all_with(cluster.client().clone(), kind);
    let action = format!("list {} in all namespaces", kinds::full_name(kind));
    let (mut in_use, mut parameters) = (ImagesInUse::new(), ListParams::default().limit(PAGE));
    loop {
        let page = ask(&action, || objects.list(&parameters)).await?;
        for object in &page.items {
            read(object, kind, makes_pods, stored, &mut in_use);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(in_use),
        }
    }
}

fn read(
    object: &DynamicObject,
    kind: &ApiResource,
    makes_pods: bool,
    stored: &StoredNames,
    in_use: &mut ImagesInUse,
) {
    let name = object.name_any();
    let user = match object.namespace() {
        Some(namespace) => format!("{} {namespace}/{name}", kind.kind),
        None => format!("{} {name}", kind.kind),
    };
    if makes_pods {
        each_text(&object.data, |field, text| {
            if is_for_images(field) {
                in_use.add(text, user.as_str());
            }
        });
    }
    each_text(&object.data, |_, text| in_use.add_text(text, &user, stored));
    let marks = object.labels().values().chain(object.annotations().values());
    marks.chain([&name]).for_each(|text| in_use.add_text(text, &user, stored));
}

/// Whether images stand under this name in all objects: `image` and `imageID` of containers of every sort and their states, and
/// `image.reference` of volumes. So no place can be overlooked, nor one that Kubernetes has yet to invent.
fn is_for_images(field: &str) -> bool {
    matches!(field, "image" | "imageID" | "reference")
}

/// Calls `found` with every text in `value`, and the name of the field that it stands in; names of fields are texts of no field.
fn each_text<'a>(value: &'a Value, mut found: impl FnMut(&'a str, &'a str)) {
    let mut to_read = vec![("", value)];
    while let Some((field, value)) = to_read.pop() {
        match value {
            Value::String(text) => found(field, text),
            Value::Array(items) => to_read.extend(items.iter().map(|item| ("", item))),
            Value::Object(fields) => {
                for (name, value) in fields {
                    found("", name);
                    to_read.push((name, value));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn images(object: &Value) -> Vec<&str> {
        let mut images = Vec::new();
        each_text(object, |field, text| {
            if is_for_images(field) {
                images.push(text);
            }
        });
        images.sort_unstable();
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

    #[test]
    fn every_text_is_read() {
        let object = json!({ "a": ["b", { "c": "d", "e": 1 }], "f": { "g": null } });
        let mut texts = Vec::new();
        each_text(&object, |_, text| texts.push(text));
        texts.sort_unstable();
        assert_eq!(texts, ["a", "b", "c", "d", "e", "f", "g"]);
    }
}
