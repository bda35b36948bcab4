//! The pods of a project: those of builds, and those that run an image or a script.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, ListParams, LogParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::PATIENCE;
use super::{Project, WITHIN_SECONDS, variable};

/// Chooses what we make but the context service, which stays.
pub(super) const BUILDERS: &str = "app.kubernetes.io/managed-by=garden-build,app!=garden-util";

impl Project {
    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits for pods whose names start with `prefix`, and returns the service accounts that they run as.
    pub(crate) async fn service_accounts_of_pods(&self, prefix: &str) -> Vec<String> {
        let deadline = Instant::now() + WITHIN_SECONDS;
        loop {
            let pods = self.pods().list(&ListParams::default()).await.unwrap();
            let pods = pods.items.into_iter().filter(|pod| pod.name_any().starts_with(prefix));
            let accounts: Vec<String> = pods.filter_map(|pod| pod.spec?.service_account_name).collect();
            if !accounts.is_empty() || Instant::now() > deadline {
                return accounts;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the builder's pod satisfies `condition`, and returns it.
    pub(crate) async fn builder_pod(&self, condition: impl Fn(&Pod) -> bool) -> Pod {
        let ours = ListParams::default().labels(BUILDERS);
        let started = Instant::now();
        loop {
            let pods = self.pods().list(&ours).await.unwrap();
            if let Some(pod) = pods.items.into_iter().find(|pod| condition(pod)) {
                return pod;
            }
            assert!(started.elapsed() < PATIENCE, "no such builder pod appeared");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs `image` as a pod with `command` (its own if empty), and returns what it printed.
    pub(crate) async fn run(&self, image: &str, command: &[&str], pull_secret: Option<&str>) -> String {
        let name = format!("run-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() % 1_000_000_000);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "imagePullSecrets": pull_secret.map(|name| vec![json!({ "name": name })]),
                "containers": [{
                    "name": "main",
                    "image": image,
                    "command": if command.is_empty() { json!(null) } else { json!(command) },
                }],
            },
        }))
        .unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap();
        let started = Instant::now();
        loop {
            let pod = self.pods().get(&name).await.unwrap();
            let status = pod.status.unwrap_or_default();
            match status.phase.as_deref() {
                Some("Succeeded") => break,
                Some("Failed") => panic!("{image} failed: {status:?}"),
                _ => assert!(started.elapsed() < PATIENCE, "{image} does not run: {status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.pods().logs(&name, &LogParams::default()).await.unwrap()
    }

    /// Has the daemon forget its local cache, as if it had just been created.
    pub(crate) async fn forget_local_cache(&self) {
        let daemon = self.builder_pod(running).await.name_any();
        let command = ["buildctl", "prune", "--all"];
        let mut pruning = self.pods().exec(&daemon, command, &AttachParams::default()).await.unwrap();
        let status = pruning.take_status().unwrap().await.expect("how it ended");
        assert_eq!(status.status.as_deref(), Some("Success"), "{status:?}");
    }

    /// Runs `script` as root on the node, whose file system is at `/node`.
    pub(crate) async fn on_the_node(&self, script: &str) {
        let pod = json!({
            "metadata": { "generateName": "on-the-node-" },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "hostPID": true,
                "volumes": [{ "name": "node", "hostPath": { "path": "/" } }],
                "containers": [{
                    "name": "main",
                    "image": variable("GARDEN_TEST_BASE_IMAGE"),
                    "command": ["sh", "-ec", script],
                    "securityContext": { "privileged": true },
                    "volumeMounts": [{ "name": "node", "mountPath": "/node" }],
                }],
            },
        });
        let pod = serde_json::from_value(pod).unwrap();
        let name = self.pods().create(&PostParams::default(), &pod).await.unwrap().name_any();
        let started = Instant::now();
        loop {
            let status = self.pods().get(&name).await.unwrap().status.unwrap_or_default();
            match status.phase.as_deref() {
                Some("Succeeded") => return,
                Some("Failed") => {
                    panic!("{script}: {}", self.pods().logs(&name, &LogParams::default()).await.unwrap())
                }
                _ => assert!(started.elapsed() < WITHIN_SECONDS, "{script} takes too long: {status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Whether a pod runs.
pub(crate) fn running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

/// Waits until `pod` is no more.
pub(crate) async fn gone(project: &Project, pod: &str, within: Duration) {
    let started = Instant::now();
    while project.pods().get_opt(pod).await.unwrap().is_some() {
        assert!(started.elapsed() < within, "Pod {pod} is still there after {within:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
