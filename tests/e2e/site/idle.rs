//! Deployments of ours that nobody uses.

use std::time::Instant;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::{Project, WITHIN_SECONDS};

const LAST_USED: &str = "garden-build/last-used";

impl Project {
    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Has it look as if nobody had used the Deployment `name` for years.
    pub(crate) async fn unused_for_years(&self, name: &str) {
        let patch = json!({ "metadata": { "annotations": { LAST_USED: "2020-01-01T00:00:00Z" } } });
        self.deployments().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Whether somebody has used the Deployment `name` since.
    pub(crate) async fn is_used_again(&self, name: &str) -> bool {
        let live = self.deployments().get(name).await.unwrap();
        let annotations = live.metadata.annotations.unwrap_or_default();
        annotations.get(LAST_USED).is_some_and(|time| !time.starts_with("2020-"))
    }

    /// Waits until the Deployment `name` is scaled to zero, by whichever test sweeps first, and its pods are gone.
    pub(crate) async fn until_asleep(&self, name: &str) {
        let started = Instant::now();
        loop {
            let pods = self.pods().list(&ListParams::default().labels(&format!("app={name}"))).await.unwrap();
            if self.replicas(name).await == Some(0) && pods.items.is_empty() {
                return;
            }
            assert!(started.elapsed() < WITHIN_SECONDS, "{name} runs on");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// To how many pods the Deployment `name` is scaled.
    pub(crate) async fn replicas(&self, name: &str) -> Option<i32> {
        let spec: Option<DeploymentSpec> = self.deployments().get(name).await.unwrap().spec.into();
        spec.and_then(|spec| spec.replicas)
    }
}
