//! The I/O of this crate, with an API server in this process: what is asked, what is left behind, and what it means.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

mod builder_proxies;
mod client;
mod idle;
mod in_cluster_registry;
mod leftovers;
mod log;
mod network_policies;
mod pod;
mod streams;

use garden_build_core::Remedy;
use garden_build_testing::kubernetes::{FakeCluster, FakePod};
use garden_cluster::{Cluster, Remedies};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

const NAMESPACE: &str = "builds";
const MAIN: &str = "main";

const REMEDIES: Remedies = Remedies {
    memory: Remedy::new("more memory"),
    evicted: Remedy::new("a larger node"),
    disk_limit: Remedy::new("more disk"),
    scheduling: Remedy::new("fewer demands on nodes"),
    port: None,
    image: Remedy::new("another image"),
    start: Remedy::new("a better command"),
    quota: Remedy::new("a smaller pod"),
    limit_range: Remedy::new("a pod within the range"),
    pod_security: Remedy::new("another level"),
    privileges: Remedy::new("fewer privileges"),
};

/// A server with the namespace of these tests, and a client of it.
fn fake() -> (FakeCluster, Cluster) {
    let fake = FakeCluster::new();
    fake.namespace(NAMESPACE);
    let cluster = Cluster::new(fake.client());
    (fake, cluster)
}

/// A pod of one container, `main`.
fn pod(name: &str) -> Pod {
    let pod = json!({
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": MAIN, "image": "example/main:1", "resources": { "limits": { "memory": "1Gi" } } }],
        },
    });
    serde_json::from_value(pod).unwrap()
}

/// Puts such a pod there.
async fn made(fake: &FakeCluster, cluster: &Cluster, name: &str) -> FakePod {
    cluster.create(&pod(name)).await.unwrap().unwrap();
    fake.pod(NAMESPACE, name).unwrap()
}
