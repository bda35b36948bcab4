//! What is in the cluster, and on this machine, when a build has ended.

use std::fs;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, ResourceExt};

use super::pods::BUILDERS;
use super::{Project, WITHIN_SECONDS, running};

impl Project {
    /// What is in the namespace that we created for builds: pods and secrets, by name.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let ours = ListParams::default().labels(BUILDERS);
        let pods = self.pods().list(&ours).await.unwrap();
        let secrets = self.secrets().list(&ours).await.unwrap();
        let pods = pods.items.iter().map(|pod| format!("Pod {}", pod.name_any()));
        pods.chain(secrets.items.iter().map(|secret| format!("Secret {}", secret.name_any()))).collect()
    }

    /// Asserts that nothing of ours is in the namespace, or is on its way out. What is left behind stays until a later build.
    pub(crate) async fn assert_nothing_left(&self) {
        let started = Instant::now();
        loop {
            let leftovers = self.leftovers().await;
            if leftovers.is_empty() {
                return;
            }
            assert!(started.elapsed() < WITHIN_SECONDS, "left behind: {leftovers:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Makes sure that no process of this machine, in whatever namespace, runs `command`, `within` this time at the latest. Docker
/// itself does not say which builds it has.
pub(crate) async fn assert_not_running(command: &str, within: Duration) {
    let started = Instant::now();
    let runs = || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let mut commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        commands.any(|words| String::from_utf8_lossy(&words).replace('\0', " ").trim() == command)
    };
    while runs() {
        assert!(started.elapsed() < within, "`{command}` still runs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything in the project's namespace but the Secrets called `own`, and what the daemon logged, as one text.
pub(crate) async fn everything_in_namespace(project: &Project, own: &[&str]) -> String {
    let (client, namespace) = (&project.client, project.namespace.as_str());
    let mut found = vec![
        all::<ConfigMap>(client, namespace).await,
        all::<Deployment>(client, namespace).await,
        all::<ReplicaSet>(client, namespace).await,
        all::<Pod>(client, namespace).await,
        all::<Event>(client, namespace).await,
    ];
    let secrets = project.secrets().list(&ListParams::default()).await.unwrap();
    let secrets = secrets.items.into_iter().filter(|secret| !own.contains(&secret.name_any().as_str()));
    found.push(serde_json::to_string(&secrets.collect::<Vec<_>>()).unwrap());
    let daemon = project.builder_pod(running).await.name_any();
    found.push(project.pods().logs(&daemon, &LogParams::default()).await.unwrap());
    found.join("\n")
}

async fn all<K>(client: &Client, namespace: &str) -> String
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    let objects = Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await.unwrap();
    serde_json::to_string(&objects.items).unwrap()
}
