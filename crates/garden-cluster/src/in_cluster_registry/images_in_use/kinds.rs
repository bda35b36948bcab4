//! The kinds of objects that are read for images.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, PodTemplate, ReplicationController};
use kube::Discovery;
use kube::api::ApiResource;
use kube::discovery::{ApiGroup, verbs};

use crate::api::{Cluster, ClusterError, ask};

/// The kinds that have a pod's specification in them. Revisions are those of `StatefulSets` and `DaemonSets`; a
/// Deployment's are `ReplicaSets`.
pub(super) fn of_workloads() -> [ApiResource; 10] {
    [
        ApiResource::erase::<Pod>(&()),
        ApiResource::erase::<PodTemplate>(&()),
        ApiResource::erase::<ReplicationController>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<DaemonSet>(&()),
        ApiResource::erase::<ControllerRevision>(&()),
        ApiResource::erase::<Job>(&()),
        ApiResource::erase::<CronJob>(&()),
    ]
}

/// Returns the other kinds in which people and programs write down what they are going to run: `ConfigMaps`, and all that Kubernetes
/// itself does not have.
///
/// # Errors
/// If the API server does not say which there are.
pub(super) async fn others(cluster: &Cluster) -> Result<Vec<ApiResource>, ClusterError> {
    let discovery = || Discovery::new(cluster.client().clone());
    let action = "list the kinds of objects";
    let found = match ask(action, || discovery().run_aggregated()).await {
        Ok(found) => found,
        // Kubernetes before 1.27 answers in an older form.
        Err(_) => ask(action, || discovery().run()).await?,
    };
    let kinds = found.groups().flat_map(ApiGroup::recommended_resources);
    let listed = kinds.filter(|(_, abilities)| abilities.supports_operation(verbs::LIST));
    Ok(listed.map(|(kind, _)| kind).filter(may_name_images).collect())
}

/// Kubernetes' own kinds tell what was, as events do, or have other subjects, or are secret; a Node names every image that it has,
/// used or not.
fn may_name_images(kind: &ApiResource) -> bool {
    match kind.group.as_str() {
        "" => kind.plural == "configmaps",
        "apps" | "autoscaling" | "batch" | "extensions" | "policy" => false,
        group => !group.ends_with(".k8s.io"),
    }
}

/// The kind's name as `kubectl` takes it: `configmaps`, `charts.example.com`.
pub(super) fn full_name(kind: &ApiResource) -> String {
    let is_of_kubernetes = kind.group.is_empty() || !kind.group.contains('.');
    if is_of_kubernetes { kind.plural.clone() } else { format!("{}.{}", kind.plural, kind.group) }
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;

    #[test]
    fn what_people_and_programs_write_is_read() {
        for (group, plural, expected) in [
            ("", "configmaps", true),
            ("helm.example.com", "charts", true),
            ("", "secrets", false),
            ("", "events", false),
            ("events.k8s.io", "events", false),
            ("", "nodes", false),
            ("", "pods", false),
            ("apps", "deployments", false),
            ("metrics.k8s.io", "pods", false),
        ] {
            let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", "Kind"), plural);
            assert_eq!(may_name_images(&kind), expected, "{plural}.{group}");
        }
    }
}
