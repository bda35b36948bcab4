//! The cluster that the daemons run in, and what a bench does to it besides building.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{AttachParams, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;
use xtask::part::Part;

use crate::testbed::{self, Environment};

/// A daemon is given everything that a small machine has. On its disk, a bench would measure the disk.
pub(super) const CPU_LIMIT: u32 = 8;
pub(super) const MEMORY_LIMIT_GIB: u32 = 16;
pub(super) const STATE_SIZE: &str = "8Gi";

const PATIENCE: Duration = Duration::from_secs(180);
const INTERVAL: Duration = Duration::from_millis(200);

/// A cluster, and namespaces in it that go with the bench.
pub(super) struct Cluster {
    runtime: Runtime,
    client: Client,
    variables: BTreeMap<String, String>,
    namespaces: Vec<String>,
}

impl Cluster {
    pub(super) fn up(runtime: Runtime) -> Result<Self> {
        testbed::check()?;
        let Environment { variables, .. } = testbed::up(&Part::ALL)?;
        let kubeconfig = Kubeconfig::read_from(&variables["KUBECONFIG"])?;
        let client = runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client, variables, namespaces: Vec::new() })
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        Path::new(&self.variables["KUBECONFIG"]).to_owned()
    }

    /// Returns one of the variables that tests read, too.
    pub(super) fn variable(&self, name: &str) -> Result<String> {
        self.variables.get(name).cloned().with_context(|| format!("{name} is not set"))
    }

    /// Creates a namespace whose name begins with `bench-`.
    pub(super) fn create_namespace(&mut self, what: &str) -> Result<String> {
        let moment = std::time::UNIX_EPOCH.elapsed()?.as_millis() % 1_000_000_000;
        let name = format!("bench-{what}-{moment}");
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        self.runtime.block_on(namespaces.create(&PostParams::default(), &namespace))?;
        self.namespaces.push(name.clone());
        Ok(name)
    }

    /// Deletes the namespaces, with the daemons in them, and waits until they are gone.
    pub(super) fn remove_namespaces(&mut self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        self.runtime.block_on(async {
            for name in &self.namespaces {
                namespaces.delete(name, &DeleteParams::default()).await?;
            }
            let started = Instant::now();
            for name in self.namespaces.drain(..) {
                while namespaces.get_opt(&name).await?.is_some() {
                    if started.elapsed() > PATIENCE {
                        bail!("Namespace {name} was deleted, but is still there");
                    }
                    tokio::time::sleep(INTERVAL).await;
                }
            }
            Ok(())
        })
    }

    /// Moves the state of our daemon into memory, which no setting of ours does: by hand, as a change
    /// that stays until the settings change.
    pub(super) fn keep_state_in_memory(&self, namespace: &str, deployment: &str) -> Result<()> {
        let memory = json!({ "medium": "Memory", "sizeLimit": STATE_SIZE });
        let patch = json!({ "spec": { "template": { "spec": {
            "volumes": [{ "name": "state", "emptyDir": memory }],
        } } } });
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        self.runtime.block_on(async {
            deployments.patch(deployment, &PatchParams::default(), &Patch::Strategic(&patch)).await?;
            let started = Instant::now();
            loop {
                // The former daemon must be gone: a build takes the oldest.
                let pods = self.pods(namespace).await?;
                if let [pod] = pods.as_slice()
                    && is_started(pod)
                    && has_state_in_memory(pod)
                {
                    return Ok(());
                }
                if started.elapsed() > PATIENCE {
                    bail!("the daemon with its state in memory does not start in Namespace {namespace}");
                }
                tokio::time::sleep(INTERVAL).await;
            }
        })
    }

    /// Makes a daemon forget everything: results, blobs, and what it keeps of contexts.
    pub(super) fn prune(&self, namespace: &str) -> Result<()> {
        self.runtime.block_on(async {
            let pods = self.pods(namespace).await?;
            let [pod] = pods.as_slice() else {
                bail!("{} daemons are in Namespace {namespace} instead of one", pods.len());
            };
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let started = Instant::now();
            // What the last build still holds, for a moment after its end, is not pruned.
            loop {
                self.exec(namespace, name, &["buildctl", "prune", "--all"]).await?;
                let usage = self.exec(namespace, name, &["buildctl", "du"]).await?;
                if is_empty(&usage) {
                    return Ok(());
                }
                if started.elapsed() > PATIENCE {
                    bail!("Pod {name} does not give up its cache:\n{usage}");
                }
                tokio::time::sleep(INTERVAL).await;
            }
        })
    }

    /// The pods of a namespace; of daemons, as there is nothing else in a bench's.
    async fn pods(&self, namespace: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(pods.list(&ListParams::default()).await?.items)
    }

    async fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let what = AttachParams::default().stdout(true).stderr(false);
        let mut process = pods.exec(pod, command.iter().copied(), &what).await?;
        let status = process.take_status().context("no status")?;
        let mut printed = String::new();
        process.stdout().context("no output")?.read_to_string(&mut printed).await?;
        let status = status.await.context("the end of the command was not reported")?;
        if status.status.as_deref() != Some("Success") {
            bail!("{} failed in Pod {pod}: {}", command.join(" "), status.message.unwrap_or_default());
        }
        Ok(printed)
    }
}

fn is_started(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && statuses.is_some_and(|statuses| statuses.iter().all(|status| status.started == Some(true)))
}

fn has_state_in_memory(pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut media = volumes.filter_map(|volume| volume.empty_dir.as_ref()?.medium.as_deref());
    media.any(|medium| medium == "Memory")
}

/// Reads the last lines of `buildctl du`.
fn is_empty(usage: &str) -> bool {
    usage.lines().any(|line| line.strip_prefix("Total:").is_some_and(|total| total.trim() == "0B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_daemon_with_nothing_left_is_empty() {
        assert!(is_empty("Reclaimable:\t0B\nTotal:\t\t0B\n"));
        assert!(!is_empty("ID\tRECLAIMABLE\nReclaimable:\t0B\nTotal:\t\t10.5MB\n"));
    }
}
