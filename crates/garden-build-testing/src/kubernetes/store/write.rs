use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::kind::Kind;
use super::super::refusal::Refusal;
use super::{Key, Store, apply};

/// How an object is to be changed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A `PUT`.
    Replace(Value),
    /// A JSON merge patch, RFC 7396.
    Merge(Value),
    /// A JSON patch, RFC 6902.
    Json(json_patch::Patch),
    /// A server-side apply of `manager`.
    Apply {
        /// Who applies.
        manager: String,
        /// What the manager wants of the object.
        wanted: Value,
        /// Whether to take fields from others.
        force: bool,
    },
}

/// What of an object is written, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    pub(crate) kind: &'static Kind,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) now: Timestamp,
}

impl Store {
    /// Creates an object, as a `POST` does.
    pub(crate) fn create(
        &mut self,
        write: Write<'_>,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Refusal> {
        self.create_with(write, namespace, object, BTreeMap::new())
    }

    fn create_with(
        &mut self,
        write: Write<'_>,
        namespace: &str,
        mut object: Value,
        applied: BTreeMap<String, Value>,
    ) -> Result<Value, Refusal> {
        let kind = write.kind;
        check_type(kind, &object)?;
        let metadata = &object["metadata"];
        let name = match (metadata["name"].as_str(), metadata["generateName"].as_str()) {
            (Some(name), _) if !name.is_empty() => name.to_owned(),
            (_, Some(prefix)) => self.generated_name(prefix),
            _ => {
                return Err(Refusal::invalid(
                    kind,
                    "",
                    "metadata.name: Required value: name or generateName is required",
                ));
            }
        };
        if let Some(named) = metadata["namespace"].as_str().filter(|named| *named != namespace) {
            return Err(Refusal::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request ({named}, {namespace})"
            )));
        }
        if kind.is_namespaced {
            self.take_in(namespace)?;
        }
        let key = Key::new(kind, namespace, &name);
        if self.objects.contains_key(&key) {
            return Err(Refusal::already_exists(kind, &name));
        }
        object["apiVersion"] = kind.api_version.into();
        object["kind"] = kind.name.into();
        let uid = self.uid();
        let metadata = &mut object["metadata"];
        metadata["name"] = name.into();
        if kind.is_namespaced {
            metadata["namespace"] = namespace.into();
        }
        metadata["uid"] = uid.into();
        metadata["creationTimestamp"] = Self::stamp(write.now);
        if object.get("spec").is_some() {
            object["metadata"]["generation"] = 1.into();
        }
        if kind.has_status() {
            object["status"] = first_status(kind);
        }
        encode_strings(kind, &mut object);
        let created = self.put(&key, object, applied);
        if kind.plural == "namespaces" {
            self.give_service_account(&key.name, write.now);
        }
        self.collect(write.now);
        Ok(created)
    }

    /// Changes an object. An apply creates it if it is not there.
    pub(crate) fn change(
        &mut self,
        write: Write<'_>,
        key: &Key,
        mut change: Change,
    ) -> Result<Value, Refusal> {
        let kind = write.kind;
        if let Change::Replace(object) | Change::Apply { wanted: object, .. } = &mut change {
            check_type(kind, object)?;
            let name = &mut object["metadata"]["name"];
            if !name.is_null() && *name != key.name.as_str() {
                let message = format!(
                    "the name of the object ({name}) does not match the name on the URL ({})",
                    key.name
                );
                return Err(Refusal::bad_request(message));
            }
            *name = key.name.as_str().into();
        }
        let Some(stored) = self.objects.get(key).cloned() else {
            return match change {
                Change::Apply { manager, wanted, .. } if write.subresource.is_none() => {
                    let applied = BTreeMap::from([(manager, wanted.clone())]);
                    self.create_with(write, &key.namespace, wanted, applied)
                }
                _ => Err(Refusal::not_found(kind, &key.name)),
            };
        };
        let (before, mut applied) = (stored.object, stored.applied);
        let mut after = before.clone();
        match change {
            Change::Replace(object) => after = object,
            Change::Merge(patch) => json_patch::merge(&mut after, &patch),
            Change::Json(patch) => json_patch::patch(&mut after, &patch)
                .map_err(|error| Refusal::invalid(kind, &key.name, &error.to_string()))?,
            Change::Apply { manager, wanted, force } => {
                apply::apply(&mut after, &mut applied, &manager, wanted, force)?;
            }
        }
        check_type(kind, &after)?;
        check_preconditions(kind, &key.name, &before, &after["metadata"])?;
        keep_metadata(&before, &mut after);
        encode_strings(kind, &mut after);
        if kind.has_status() {
            let status = if write.subresource == Some("status") {
                let status = after["status"].take();
                after = before.clone();
                status
            } else {
                before["status"].clone()
            };
            after["status"] = status;
        }
        check_immutable(kind, &key.name, &before, &after)?;
        // Annotations of a Deployment go on to its ReplicaSets. Source: Kubernetes, `PrepareForUpdate` in
        // `pkg/registry/apps/deployment/strategy.go`.
        let is_annotated_anew = kind.plural == "deployments"
            && after["metadata"].get("annotations") != before["metadata"].get("annotations");
        if after.get("spec") != before.get("spec") || is_annotated_anew {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or_default();
            after["metadata"]["generation"] = (generation + 1).into();
        }
        after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        if after == before {
            // What changes nothing is not written.
            if let Some(stored) = self.objects.get_mut(key) {
                stored.applied = applied;
            }
            return Ok(before);
        }
        let changed = self.put(key, after, applied);
        self.collect(write.now);
        Ok(changed)
    }

    /// Puts an object in place whatever is there, with its status, as all the parts of a cluster together can.
    pub(crate) fn set(&mut self, kind: &'static Kind, mut object: Value, now: Timestamp) -> Value {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let namespace =
            if kind.is_namespaced { text(&object["metadata"]["namespace"]) } else { String::new() };
        let key = Key::new(kind, &namespace, &text(&object["metadata"]["name"]));
        let stored = self.objects.get(&key).cloned();
        let metadata = &mut object["metadata"];
        if metadata["uid"].is_null() {
            metadata["uid"] = match &stored {
                Some(stored) => stored.object["metadata"]["uid"].clone(),
                None => self.uid().into(),
            };
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = Self::stamp(now);
        }
        encode_strings(kind, &mut object);
        self.put(&key, object, stored.map(|stored| stored.applied).unwrap_or_default())
    }

    /// Changes an object as [`set`](Self::set) does; `None` if there is none.
    pub(crate) fn alter(&mut self, key: &Key, alter: impl FnOnce(&mut Value)) -> Option<Value> {
        let stored = self.objects.get(key).cloned()?;
        let mut object = stored.object;
        alter(&mut object);
        Some(self.put(key, object, stored.applied))
    }

    /// Makes a namespace, unless there is one.
    pub(crate) fn make_namespace(&mut self, name: &str, now: Timestamp) {
        if let Some(kind) = super::super::kind::by_plural("namespaces") {
            let write = Write { kind, subresource: None, now };
            // The only failure is that it exists.
            let _ = self.create(write, "", json!({ "metadata": { "name": name } }));
        }
    }

    /// Fails if a namespace takes no objects.
    fn take_in(&self, namespace: &str) -> Result<(), Refusal> {
        let Some(kind) = super::super::kind::by_plural("namespaces") else { return Ok(()) };
        match self.get(&Key::new(kind, "", namespace)) {
            None => Err(Refusal::not_found(kind, namespace)),
            Some(_) => Ok(()),
        }
    }

    /// As the controller for service accounts does in every namespace.
    fn give_service_account(&mut self, namespace: &str, now: Timestamp) {
        if let Some(kind) = super::super::kind::by_plural("serviceaccounts") {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": namespace },
            });
            self.set(kind, account, now);
        }
    }
}

fn check_type(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    let is_map = |value: Option<&Value>| value.is_none_or(|it| it.is_object() || it.is_null());
    if !object.is_object() || !is_map(object.get("metadata")) || !is_map(object.get("data")) {
        return Err(Refusal::bad_request("the object provided is unrecognized (must be of type Object)"));
    }
    for (field, expected) in [("apiVersion", kind.api_version), ("kind", kind.name)] {
        if object.get(field).is_some_and(|it| it != expected) {
            return Err(Refusal::bad_request(format!(
                "the {field} in the data ({}) does not match the expected {expected}",
                object[field]
            )));
        }
    }
    Ok(())
}

/// What a writer names of these has to be so. Source: Kubernetes, "API Concepts", and `optimistic locking` in the API conventions.
fn check_preconditions(kind: &Kind, name: &str, before: &Value, wanted: &Value) -> Result<(), Refusal> {
    let differs = |field: &str| {
        wanted.get(field).is_some_and(|it| !it.is_null() && *it != "" && *it != before["metadata"][field])
    };
    if differs("resourceVersion") {
        return Err(Refusal::conflict());
    }
    if differs("uid") {
        let what =
            format!("metadata.uid: Precondition failed: UID in object meta: {}", before["metadata"]["uid"]);
        return Err(Refusal::new(409, "Conflict", format!("{} \"{name}\": {what}", kind.qualified())));
    }
    Ok(())
}

/// What of the metadata is the server's alone.
fn keep_metadata(before: &Value, after: &mut Value) {
    for field in ["apiVersion", "kind"] {
        after[field] = before[field].clone();
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        match before["metadata"].get(field) {
            Some(value) => after["metadata"][field] = value.clone(),
            None => {
                if let Some(metadata) = after["metadata"].as_object_mut() {
                    metadata.remove(field);
                }
            }
        }
    }
}

/// Source: Kubernetes, `ValidateSecretUpdate`, `ValidatePodUpdate` and `ValidateDeploymentUpdate`.
fn check_immutable(kind: &Kind, name: &str, before: &Value, after: &Value) -> Result<(), Refusal> {
    let changed = |pointer: &str| before.pointer(pointer) != after.pointer(pointer);
    let what = match kind.plural {
        "secrets" if changed("/type") => "type: Invalid value: field is immutable",
        "deployments" if changed("/spec/selector") => "spec.selector: Invalid value: field is immutable",
        // Of a pod, a few fields may change; nobody here changes those.
        "pods" if changed("/spec") => {
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`, ..."
        }
        _ => return Ok(()),
    };
    Err(Refusal::invalid(kind, name, what))
}

/// Data of Secrets may be given as text.
fn encode_strings(kind: &Kind, object: &mut Value) {
    if kind.plural != "secrets" {
        return;
    }
    let Some(Value::Object(strings)) = object.as_object_mut().and_then(|it| it.remove("stringData")) else {
        return;
    };
    for (key, value) in strings {
        object["data"][key] = STANDARD.encode(value.as_str().unwrap_or_default()).into();
    }
}

fn first_status(kind: &Kind) -> Value {
    match kind.plural {
        "namespaces" => json!({ "phase": "Active" }),
        "pods" | "persistentvolumeclaims" => json!({ "phase": "Pending" }),
        _ => json!({}),
    }
}
