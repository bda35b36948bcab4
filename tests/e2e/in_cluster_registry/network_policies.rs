//! `NetworkPolicies` for the registry, for kaniko's context service and for the `BuildKit` daemon. Where the cluster's network plugin enforces
//! them, this also shows that builds and nodes are let in.

use garden_cluster::{InClusterRegistry, MANAGED_BY_LABEL, MANAGER};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::ListParams;

use super::{builds_and_runs, in_project_with_registry, use_buildkit};
use crate::site::Project;
use crate::site::installing::init;

#[tokio::test]
async fn builds_work_with_network_policies_and_without_the_option_they_are_removed() {
    in_project_with_registry("icr-policies", async |project| {
        let own = project.namespace.clone();
        project.provider.network_policies = true;
        init(&project.builder()).await.unwrap();
        for (namespace, name) in [
            ("garden-system", InClusterRegistry::NAME),
            ("garden-system", InClusterRegistry::PROXY),
            (&own, "garden-util"),
        ] {
            assert_guards_pods(project, namespace, name).await;
        }
        builds_and_runs(project).await;

        use_buildkit(project);
        builds_and_runs(project).await;
        assert_guards_pods(project, &own, "garden-buildkit").await;

        project.provider.network_policies = false;
        init(&project.builder()).await.unwrap();
        for (namespace, name) in [
            ("garden-system", InClusterRegistry::NAME),
            ("garden-system", InClusterRegistry::PROXY),
            (&own, "garden-buildkit"),
        ] {
            assert!(
                policies(project, namespace).get_opt(name).await.unwrap().is_none(),
                "{namespace}/{name}"
            );
        }
        builds_and_runs(project).await;
    })
    .await;
}

fn policies(project: &Project, namespace: &str) -> Api<NetworkPolicy> {
    Api::namespaced(project.client.clone(), namespace)
}

/// Makes sure that there is a policy of ours, and that it chooses pods.
#[allow(clippy::useless_conversion, reason = "not useless in every version of the Kubernetes API")]
async fn assert_guards_pods(project: &Project, namespace: &str, name: &str) {
    let policy = policies(project, namespace).get(name).await.unwrap();
    assert_eq!(policy.metadata.labels.unwrap()[MANAGED_BY_LABEL], MANAGER);
    let spec = policy.spec.unwrap();
    assert_eq!(spec.policy_types.unwrap(), ["Ingress"]);
    let chosen: Option<LabelSelector> = spec.pod_selector.into();
    let labels = chosen.unwrap().match_labels.unwrap();
    let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(project.client.clone(), namespace);
    let pods = pods.list(&ListParams::default().labels(&labels.join(","))).await.unwrap();
    assert!(!pods.items.is_empty(), "{namespace}/{name} chooses no pod");
}
