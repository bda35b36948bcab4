use jiff::Timestamp;
use serde_json::{Value, json};

use super::clock::seconds;
use super::cluster::FakeCluster;
use super::log::LogName;

/// A pod of a [`FakeCluster`], to which happens what a test says. What happens to one that is gone is ignored, as a
/// test cannot know when a client deletes it.
#[derive(Clone, Debug)]
pub struct FakePod {
    cluster: FakeCluster,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: another pod of the same name is not this one.
    pub uid: String,
}

impl FakePod {
    pub(crate) fn new(cluster: FakeCluster, namespace: &str, name: &str, uid: &str) -> Self {
        Self { cluster, namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() }
    }

    /// Returns the cluster that it is in.
    pub fn cluster(&self) -> &FakeCluster {
        &self.cluster
    }

    /// Returns the object; `None` if it is gone.
    pub fn object(&self) -> Option<Value> {
        let pod = self.cluster.object("pods", &self.namespace, &self.name)?;
        (pod["metadata"]["uid"] == self.uid.as_str()).then_some(pod)
    }

    /// Changes the object in any way.
    pub fn alter(&self, alter: impl FnOnce(&mut Value)) {
        self.cluster.alter("pods", &self.namespace, &self.name, |pod| {
            if pod["metadata"]["uid"] == self.uid.as_str() {
                alter(pod);
            }
        });
    }

    /// It is given to a node.
    pub fn schedule(&self, node: &str) {
        self.alter(|pod| pod["spec"]["nodeName"] = node.into());
    }

    /// All its containers start, on a node.
    pub fn run(&self) {
        let now = seconds(self.cluster.now());
        let address = format!("10.0.0.{}", self.uid.len());
        self.alter(|pod| {
            if pod["spec"]["nodeName"].is_null() {
                pod["spec"]["nodeName"] = "node".into();
            }
            let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
            let statuses: Vec<Value> = containers
                .iter()
                .map(|container| {
                    let name = container["name"].as_str().unwrap_or_default();
                    json!({
                        "name": name, "image": container["image"], "imageID": "", "ready": true, "started": true,
                        "restartCount": 0, "containerID": format!("fake://{}/{name}", self.uid),
                        "state": { "running": { "startedAt": now } },
                    })
                })
                .collect();
            pod["status"] = json!({
                "phase": "Running", "startTime": now, "podIP": address, "containerStatuses": statuses,
                "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": now }],
            });
        });
    }

    /// A container of it waits to start, for this reason, such as `ErrImagePull`.
    pub fn wait(&self, container: &str, reason: &str, message: &str) {
        let state = json!({ "waiting": { "reason": reason, "message": message } });
        self.set_state(container, &state, false);
    }

    /// Prints a line to the log of a container.
    pub fn say(&self, container: &str, line: &str) {
        self.cluster.print(&self.log(container), None, line);
    }

    /// Prints a line at a time of one's own.
    pub fn say_at(&self, container: &str, stamp: Timestamp, line: &str) {
        self.cluster.print(&self.log(container), Some(stamp), line);
    }

    /// Completes a container's log; [`exit`](Self::exit) does that too.
    pub fn complete_log(&self, container: &str) {
        self.cluster.complete_log(&self.log(container));
    }

    /// A container ends by itself, and leaves `message` as its termination message. A pod that is never
    /// restarted ends with its last container.
    pub fn exit(&self, container: &str, code: i32, message: &str) {
        self.complete_log(container);
        let reason = if code == 0 { "Completed" } else { "Error" };
        self.end(container, &json!({ "exitCode": code, "reason": reason, "message": message }));
    }

    /// A container is ended by the kernel, which had no memory for it.
    pub fn run_out_of_memory(&self, container: &str) {
        self.complete_log(container);
        self.end(container, &json!({ "exitCode": 137, "reason": "OOMKilled" }));
    }

    /// The node ends the pod, for want of something. Source: Kubernetes, "Node-pressure Eviction".
    pub fn evict(&self, message: &str) {
        self.complete_logs();
        self.alter(|pod| {
            pod["status"]["phase"] = "Failed".into();
            pod["status"]["reason"] = "Evicted".into();
            pod["status"]["message"] = message.into();
        });
    }

    /// It is removed at once, and its streams break.
    pub fn vanish(&self) {
        if self.object().is_some() {
            self.complete_logs();
            self.cluster.remove("pods", &self.namespace, &self.name);
            self.cluster.cut_streams();
        }
    }

    /// Something happened to it: a `Warning`, with the reason and message that `kubectl describe` shows.
    pub fn event(&self, reason: &str, message: &str) {
        let now = seconds(self.cluster.now());
        let name = format!("{}.{reason}.{}", self.name, self.cluster.objects("events").len());
        self.cluster.put(json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "name": name, "namespace": self.namespace },
            "involvedObject": { "kind": "Pod", "namespace": self.namespace, "name": self.name, "uid": self.uid },
            "type": "Warning", "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now,
        }));
    }

    /// Waits until somebody has deleted it, or marked it to go.
    pub async fn deleted(&self) {
        let is_deleted =
            || self.object().is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null()).then_some(());
        self.cluster.until(is_deleted).await;
    }

    fn log(&self, container: &str) -> LogName {
        (self.namespace.clone(), self.name.clone(), container.to_owned())
    }

    fn complete_logs(&self) {
        let pod = self.object().unwrap_or_default();
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            self.complete_log(container["name"].as_str().unwrap_or_default());
        }
    }

    fn end(&self, container: &str, how: &Value) {
        self.set_state(container, &json!({ "terminated": how }), true);
        self.alter(|pod| {
            let states: Vec<Value> =
                pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
            let has_ended = |status: &Value| !status["state"]["terminated"].is_null();
            if pod["spec"]["restartPolicy"] == "Never" && states.iter().all(has_ended) {
                let has_failed = states.iter().any(|it| it["state"]["terminated"]["exitCode"] != 0);
                pod["status"]["phase"] = if has_failed { "Failed" } else { "Succeeded" }.into();
            }
        });
    }

    fn set_state(&self, container: &str, state: &Value, started: bool) {
        self.alter(|pod| {
            if !pod["status"]["containerStatuses"].is_array() {
                pod["status"]["containerStatuses"] = json!([]);
            }
            let Some(statuses) = pod["status"]["containerStatuses"].as_array_mut() else { return };
            if !statuses.iter().any(|status| status["name"] == container) {
                let image = json!("");
                statuses.push(json!({
                    "name": container, "image": image, "imageID": "", "restartCount": 0,
                    "containerID": if started { json!(format!("fake://{}/{container}", self.uid)) } else { Value::Null },
                }));
            }
            for status in statuses.iter_mut().filter(|status| status["name"] == container) {
                status["state"] = state.clone();
                status["ready"] = false.into();
                status["started"] = false.into();
            }
        });
    }
}
