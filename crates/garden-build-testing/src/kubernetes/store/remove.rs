use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::kind::{self, Kind};
use super::super::refusal::Refusal;
use super::{Key, Store};

/// How long a pod may take to stop that does not say so. Source: Kubernetes, `PodSpec`.
const GRACE_SECONDS: u64 = 30;

/// What becomes of the objects that an object owns.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// How an object is to be deleted.
#[derive(Clone, Default, Debug)]
pub(crate) struct Deletion {
    pub(crate) grace_seconds: Option<u64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) propagation: Propagation,
}

impl Deletion {
    /// Reads the `DeleteOptions` of a request.
    pub(crate) fn read(options: &Value) -> Result<Self, Refusal> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let propagation = match options["propagationPolicy"].as_str() {
            None | Some("Background") => Propagation::Background,
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            Some(other) => return Err(Refusal::bad_request(format!("invalid propagationPolicy {other}"))),
        };
        Ok(Self {
            grace_seconds: options["gracePeriodSeconds"].as_u64(),
            uid: text(&options["preconditions"]["uid"]),
            resource_version: text(&options["preconditions"]["resourceVersion"]),
            propagation,
        })
    }
}

impl Store {
    /// Deletes an object, or marks it to go. Returns it, and whether it is gone.
    pub(crate) fn delete(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        deletion: &Deletion,
        now: Timestamp,
    ) -> Result<(Value, bool), Refusal> {
        let Some(object) = self.get(key).cloned() else { return Err(Refusal::not_found(kind, &key.name)) };
        let metadata = &object["metadata"];
        for (wanted, field) in [(&deletion.uid, "uid"), (&deletion.resource_version, "resourceVersion")] {
            if let Some(wanted) = wanted
                && metadata[field] != wanted.as_str()
            {
                let message = format!(
                    "Operation cannot be fulfilled on {} \"{}\": Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {}",
                    kind.qualified(),
                    key.name,
                    metadata[field]
                );
                return Err(Refusal::new(409, "Conflict", message));
            }
        }
        let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
        match deletion.propagation {
            Propagation::Orphan => self.disown(&uid),
            Propagation::Foreground => {
                for dependent in self.owned_by(&uid) {
                    self.go(&dependent, None, now);
                }
                if !self.owned_by(&uid).is_empty() {
                    let marked = self.alter(key, |object| {
                        object["metadata"]["deletionTimestamp"] = Self::stamp(now);
                        object["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
                    });
                    return Ok((marked.unwrap_or(object), false));
                }
            }
            Propagation::Background => {}
        }
        if let Some(marked) = self.go(key, deletion.grace_seconds, now) {
            return Ok((marked, false));
        }
        self.collect(now);
        Ok((object, true))
    }

    /// Removes an object at once, as the kubelet does with a pod that has stopped. Returns what it was.
    pub(crate) fn remove(&mut self, key: &Key, now: Timestamp) -> Option<Value> {
        let object = self.take(key)?;
        self.collect(now);
        Some(object)
    }

    /// Removes what has nobody left that owns it. Source: Kubernetes, "Garbage Collection".
    pub(super) fn collect(&mut self, now: Timestamp) {
        loop {
            let waiting = |object: &Value| object["metadata"]["finalizers"] == json!(["foregroundDeletion"]);
            let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let finished = self.objects.iter().find_map(|(key, stored)| {
                (waiting(&stored.object) && self.owned_by(&uid(&stored.object)).is_empty())
                    .then(|| key.clone())
            });
            if let Some(key) = finished {
                self.take(&key);
                continue;
            }
            let orphan = self.objects.iter().find_map(|(key, stored)| {
                let is_going = !stored.object["metadata"]["deletionTimestamp"].is_null();
                (!is_going && self.is_garbage(&stored.object)).then(|| key.clone())
            });
            let Some(key) = orphan else { return };
            self.go(&key, None, now);
        }
    }

    /// Removes an object, or marks a pod that runs to go within its grace; returns it if it is not gone.
    fn go(&mut self, key: &Key, grace: Option<u64>, now: Timestamp) -> Option<Value> {
        if key.plural == "pods" {
            let pod = self.get(key)?;
            let is_on_node = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
            let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            let of_pod = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(GRACE_SECONDS);
            // Source: Kubernetes, `CheckGracefulDelete` in `pkg/registry/core/pod/strategy.go`.
            let grace = if is_on_node && !has_ended { grace.unwrap_or(of_pod) } else { 0 };
            if grace > 0 {
                return self.alter(key, |pod| {
                    let metadata = &mut pod["metadata"];
                    if metadata["deletionTimestamp"].is_null() {
                        metadata["deletionTimestamp"] = Self::stamp(now);
                    }
                    metadata["deletionGracePeriodSeconds"] = grace.into();
                });
            }
        }
        self.take(key);
        if key.plural == "namespaces" {
            let within: Vec<Key> =
                self.objects.keys().filter(|it| it.namespace == key.name).cloned().collect();
            for key in within {
                self.take(&key);
            }
        }
        None
    }

    fn take(&mut self, key: &Key) -> Option<Value> {
        let stored = self.objects.remove(key)?;
        self.version += 1;
        let mut object = stored.object.clone();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.happened(key, Some(stored.object), object.clone(), true);
        Some(object)
    }

    fn owned_by(&self, uid: &str) -> Vec<Key> {
        let owners =
            |object: &Value| object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        self.objects
            .iter()
            .filter(|(_, stored)| owners(&stored.object).iter().any(|owner| owner["uid"] == uid))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn disown(&mut self, uid: &str) {
        for key in self.owned_by(uid) {
            self.alter(&key, |object| {
                if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
                    owners.retain(|owner| owner["uid"] != uid);
                }
            });
        }
    }

    /// Whether it names owners, and none of them is there.
    fn is_garbage(&self, object: &Value) -> bool {
        let Some(owners) = object["metadata"]["ownerReferences"].as_array() else { return false };
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let lives = |owner: &Value| {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            // Of a kind that is not known here, nothing can be said.
            let Some(kind) = kind::of_object(text("apiVersion"), text("kind")) else { return true };
            let namespace = if kind.is_namespaced { namespace } else { "" };
            let owner = self.get(&Key::new(kind, namespace, text("name")));
            owner.is_some_and(|owner| owner["metadata"]["uid"] == text("uid"))
        };
        !owners.is_empty() && !owners.iter().any(lives)
    }
}
