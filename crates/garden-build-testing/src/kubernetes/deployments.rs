//! What the controllers of Deployments and of `ReplicaSets` do. Source: Kubernetes, "Deployments".

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::FakeCluster;
use super::kind;
use super::pod::FakePod;
use super::store::{Deletion, Key, Store, Write};

/// The label that tells the pods of one template from those of another.
const HASH: &str = "pod-template-hash";

/// Looks after all Deployments for as long as it is polled.
pub(crate) async fn run(cluster: FakeCluster) {
    loop {
        let mut bell = cluster.bell();
        for deployment in cluster.objects("deployments") {
            for pod in cluster.change_store_if(|store, now| reconcile(store, &deployment, now)) {
                let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
                if let Some(kubelet) = cluster.kubelet() {
                    let pod = FakePod::new(cluster.clone(), text("namespace"), text("name"), text("uid"));
                    tokio::spawn(kubelet(pod));
                }
            }
        }
        if bell.changed().await.is_err() {
            return;
        }
    }
}

/// Makes one step towards what the Deployment says. Returns the pods that were made.
fn reconcile(store: &mut Store, deployment: &Value, now: Timestamp) -> Vec<Value> {
    let (Some(replica_sets), Some(pods)) = (kind::by_plural("replicasets"), kind::by_plural("pods")) else {
        return Vec::new();
    };
    let metadata = &deployment["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let template = &deployment["spec"]["template"];
    let hash = hash(template);
    let mut labels = template["metadata"]["labels"].clone();
    labels[HASH] = hash.as_str().into();

    let set_key = Key::new(replica_sets, namespace, &format!("{name}-{hash}"));
    if store.get(&set_key).is_none() {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": set_key.name, "namespace": namespace, "labels": labels, "annotations": metadata["annotations"],
                "ownerReferences": [owner("apps/v1", "Deployment", metadata)],
            },
            "spec": { "replicas": deployment["spec"]["replicas"], "selector": { "matchLabels": labels }, "template": template },
        });
        store.set(replica_sets, set, now);
    }
    let set = store.get(&set_key).cloned().unwrap_or_default();
    let owns = |owner: &Value, object: &Value| {
        object["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    };
    let sets: Vec<Value> = store
        .list("replicasets", Some(namespace))
        .filter(|(_, set)| owns(deployment, set))
        .map(|(_, set)| set.clone())
        .collect();
    let all: Vec<(Key, Value)> = store
        .list("pods", Some(namespace))
        .filter(|(_, pod)| sets.iter().any(|set| owns(set, pod)))
        .map(|(key, pod)| (key.clone(), pod.clone()))
        .collect();
    let is_new = |pod: &Value| pod["metadata"]["labels"][HASH] == hash.as_str();
    let is_going = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
    let has_ended = |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    let is_living = |pod: &Value| !is_going(pod) && !has_ended(pod);
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let count =
        |condition: &dyn Fn(&Value) -> bool| all.iter().filter(|(_, pod)| condition(pod)).count() as u64;

    let has_old = all.iter().any(|(_, pod)| !is_new(pod));
    let recreates = deployment["spec"]["strategy"]["type"] == "Recreate";
    let available = count(&|pod| is_living(pod) && is_new(pod) && is_ready(pod));
    let mut surplus = count(&|pod| is_living(pod) && is_new(pod)).saturating_sub(wanted);
    for (key, pod) in all.iter().filter(|(_, pod)| is_living(pod)) {
        let goes = if is_new(pod) { surplus > 0 } else { recreates || available >= wanted };
        if goes {
            surplus = surplus.saturating_sub(u64::from(is_new(pod)));
            // It was there just now.
            let _ = store.delete(pods, key, &Deletion::default(), now);
        }
    }
    let mut made = Vec::new();
    let living = count(&|pod| is_living(pod) && is_new(pod));
    if !(recreates && has_old) {
        for _ in living..wanted {
            let pod = json!({
                "metadata": {
                    "generateName": format!("{}-", set_key.name), "labels": labels,
                    "annotations": template["metadata"]["annotations"],
                    "ownerReferences": [owner("apps/v1", "ReplicaSet", &set["metadata"])],
                },
                "spec": template["spec"],
            });
            let write = Write { kind: pods, subresource: None, now };
            made.extend(store.create(write, namespace, pod));
        }
    }
    let living = count(&is_living) + made.len() as u64;
    let status = json!({
        "observedGeneration": metadata["generation"], "replicas": living,
        "updatedReplicas": count(&|pod| is_living(pod) && is_new(pod)) + made.len() as u64,
        "readyReplicas": count(&|pod| is_living(pod) && is_ready(pod)), "availableReplicas": available,
    });
    if let Some(kind) = kind::by_plural("deployments") {
        let key = Key::new(kind, namespace, name);
        let is_same = store.get(&key).is_none_or(|deployment| deployment["status"] == status);
        if !is_same {
            store.alter(&key, |deployment| deployment["status"] = status);
        }
    }
    made
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

fn owner(api_version: &str, kind: &str, metadata: &Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"], "controller": true,
    })
}

fn hash(template: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}
