//! Objects and lists, as a request wants to see them.

use serde_json::{Value, json};

use super::kind::Kind;
use super::path::Target;
use super::refusal::Refusal;
use super::request::Request;
use super::selector::Selector;
use super::store::{Key, Store};

/// What of an object a request wants. Source: Kubernetes, "API Concepts", "Metadata-only fetches".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum View {
    Whole,
    Metadata,
}

impl View {
    pub(crate) fn of(request: &Request) -> Self {
        let accepts = request.header("accept").unwrap_or_default();
        if accepts.contains("as=PartialObjectMetadata") { Self::Metadata } else { Self::Whole }
    }

    pub(crate) fn of_one(self, object: &Value) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Metadata => json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
            }),
        }
    }
}

/// Returns what a request chooses with.
pub(crate) fn selector(request: &Request, target: &Target) -> Result<Selector, Refusal> {
    let fields = request.parameter("fieldSelector").unwrap_or_default();
    let fields = match &target.name {
        // A watch of one object by its path.
        Some(name) if fields.is_empty() => format!("metadata.name={name}"),
        _ => fields.to_owned(),
    };
    Selector::new(request.parameter("labelSelector").unwrap_or_default(), &fields)
}

/// Answers a list.
pub(crate) fn list(store: &Store, request: &Request, target: &Target) -> Result<Value, Refusal> {
    let selector = selector(request, target)?;
    let view = View::of(request);
    let kind = target.kind;
    let then = match (request.parameter("resourceVersionMatch"), request.parameter("resourceVersion")) {
        (Some("Exact"), Some(version)) => {
            let version = version.parse().map_err(|_| Refusal::bad_request("invalid resource version"))?;
            Some(store.at(version)?)
        }
        _ => None,
    };
    let store = then.as_ref().unwrap_or(store);
    let start = request.parameter("continue").map(|token| start_of(store, kind, token)).transpose()?;
    let limit = match request.parameter("limit").map(str::parse) {
        None | Some(Ok(0)) => usize::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return Err(Refusal::bad_request("limit is not a number")),
    };
    let mut chosen = store
        .list(kind.plural, target.namespace.as_deref())
        .filter(|(key, object)| start.as_ref().is_none_or(|start| *key > start) && selector.chooses(object));
    let mut items = Vec::new();
    let mut last = None;
    for (key, object) in chosen.by_ref().take(limit) {
        let mut item = view.of_one(object);
        // Items of a list do not say of what kind they are.
        if view == View::Whole
            && let Some(fields) = item.as_object_mut()
        {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        items.push(item);
        last = Some(key.clone());
    }
    let left = chosen.count();
    let mut metadata = json!({ "resourceVersion": store.version().to_string() });
    if let (Some(last), 1..) = (last, left) {
        metadata["continue"] = format!("{}/{}/{}", store.version(), last.namespace, last.name).into();
        metadata["remainingItemCount"] = left.into();
    }
    let (api_version, kind) = match view {
        View::Whole => (kind.api_version, format!("{}List", kind.name)),
        View::Metadata => ("meta.k8s.io/v1", "PartialObjectMetadataList".to_owned()),
    };
    Ok(json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "items": items }))
}

/// Reads where a list goes on.
fn start_of(store: &Store, kind: &Kind, token: &str) -> Result<Key, Refusal> {
    let words: Vec<&str> = token.split('/').collect();
    let [version, namespace, name] = words[..] else {
        return Err(Refusal::bad_request("continue key is not valid"));
    };
    let version = version.parse().map_err(|_| Refusal::bad_request("continue key is not valid"))?;
    store.since(version).map(drop)?;
    Ok(Key::new(kind, namespace, name))
}
