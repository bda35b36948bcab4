//! Installing into the cluster what builds need there, also where something stands against it.

use std::env;
use std::fs::{File, OpenOptions};
use std::time::{Duration, Instant};

use garden_build::{Builder, Error, Initialized, Remedy};
use garden_cluster::{
    Cluster, InClusterRegistry, RegistryCredentials, RegistryRemedies, RegistrySettings, RegistryWords,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Project, WITHIN_SECONDS};

/// Waits until nobody else makes pods with the usual host port, and keeps others from it until the file is closed: the node has one, and a pod that
/// does not get it fails whoever waits for it. Tests with a registry of their own remove its proxies before, or give them another
/// port.
pub(crate) async fn host_port() -> File {
    lock("host-port").await
}

/// Waits until no other test has the lock `name`, and keeps others from it until the file is closed. A file, as the tests run in two processes.
pub(crate) async fn lock(name: &str) -> File {
    let path = env::temp_dir().join(format!("garden-build-e2e-{name}.lock"));
    let lock = move || {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        file.lock().unwrap();
        file
    };
    tokio::task::spawn_blocking(lock).await.unwrap()
}

/// What is advised about a registry that a test speaks to itself. Tests of advice ask the facade.
const ADVICE: Remedy = Remedy::new("see the test");
const WORDS: RegistryWords = RegistryWords::new(&RegistryRemedies {
    memory: ADVICE,
    evicted: ADVICE,
    scheduling: ADVICE,
    image: ADVICE,
    start: ADVICE,
    quota: ADVICE,
    limit_range: ADVICE,
    disk_limit: ADVICE,
    storage_class: "see the test",
    keeps_size: ADVICE,
    volume_quota: ADVICE,
    taints: ADVICE,
    foreign: ADVICE,
    password_wanted: ADVICE,
    password_missing: ADVICE,
});

/// Runs `Builder::init`, and prints what it says meanwhile.
pub(crate) async fn init(builder: &Builder) -> Result<Initialized, Error> {
    let mut init = builder.init();
    while let Some(event) = init.next_event().await {
        println!("{event}");
    }
    init.await
}

/// Installs where that is impossible, which has to show soon.
pub(crate) async fn refused(project: &Project) -> Error {
    let started = Instant::now();
    let error = init(&project.builder()).await.expect_err("it cannot be installed");
    println!("after {:?}: {error:?}", started.elapsed());
    assert!(started.elapsed() < WITHIN_SECONDS, "{error:?}");
    error
}

impl Project {
    /// Returns the registry in the cluster, for what the facade does not show of it.
    pub(crate) fn in_cluster_registry(&self) -> InClusterRegistry {
        let (cluster, settings) = (Cluster::new(self.client.clone()), RegistrySettings::new(&self.provider));
        let secrets = self.provider.image_pull_secrets.clone();
        let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", secrets);
        InClusterRegistry::new(cluster, settings, credentials, &WORDS)
    }

    /// Removes the proxies of the registry in the project's own namespace, if there are any, and waits until they have left the nodes' port.
    pub(crate) async fn remove_proxies(&self) {
        let proxies: Api<DaemonSet> = Api::namespaced(self.client.clone(), &self.namespace);
        match proxies.delete(InClusterRegistry::PROXY, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return,
            deleted => drop(deleted.unwrap()),
        }
        let has_port = |pod: &Pod| {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            containers.flat_map(|it| it.ports.iter().flatten()).any(|port| port.host_port.is_some())
        };
        while self.pods().list(&ListParams::default()).await.unwrap().iter().any(has_port) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Limits the memory that all pods of the namespace may reserve together.
    pub(crate) async fn limit_memory(&self, quota: &str, memory: &str) {
        self.limit(quota, json!({ "requests.memory": memory })).await;
    }

    /// Limits what all objects of the namespace may take together.
    pub(crate) async fn limit(&self, quota: &str, hard: serde_json::Value) {
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client.clone(), &self.namespace);
        let quota = json!({ "metadata": { "name": quota }, "spec": { "hard": hard } });
        quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    }

    /// Sets the level of Pod Security that the namespace enforces; with `None`, that of the cluster.
    pub(crate) async fn enforce_pod_security(&self, level: Option<&str>) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let label = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": level } } });
        let patch = Patch::Merge(&label);
        namespaces.patch(&self.namespace, &PatchParams::default(), &patch).await.unwrap();
    }
}
