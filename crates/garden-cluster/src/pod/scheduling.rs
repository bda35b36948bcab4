//! Where builder pods run and what they may use, in the words of Kubernetes.

use std::collections::BTreeMap;

use garden_config::{ResourceAmounts, Resources, Toleration};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Returns what a builder's container may use at most and is sure to get.
pub fn resource_requirements(resources: &Resources) -> ResourceRequirements {
    let quantities = |amounts: &ResourceAmounts| {
        let mut quantities = BTreeMap::from([
            ("cpu".to_owned(), Quantity(amounts.cpu_quantity())),
            ("memory".to_owned(), Quantity(amounts.memory_quantity())),
        ]);
        if let Some(storage) = amounts.ephemeral_storage_quantity() {
            quantities.insert("ephemeral-storage".to_owned(), Quantity(storage));
        }
        quantities
    };
    ResourceRequirements {
        limits: Some(quantities(&resources.limits)),
        requests: Some(quantities(&resources.requests)),
        ..ResourceRequirements::default()
    }
}

/// Returns the tolerations of a builder's pod: the configured ones, then `garden-build=true:NoSchedule`.
///
/// The guide promises the last one for every builder, so that nodes can be set apart for builds.
pub fn tolerations(configured: &[Toleration]) -> Vec<core::Toleration> {
    with_own_taint(configured, "garden-build")
}

/// Returns the tolerations of a service that all projects share: the configured ones, then
/// `garden-system=true:NoSchedule`, for nodes that are set apart for such services.
///
/// Source: Garden 0.12, `core/src/plugins/kubernetes/init.ts`.
pub fn system_tolerations(configured: &[Toleration]) -> Vec<core::Toleration> {
    with_own_taint(configured, "garden-system")
}

/// Returns the tolerations of a daemon: if its node is lost, it is replaced after a minute, not after the usual five.
pub fn lost_node_tolerations() -> impl Iterator<Item = core::Toleration> {
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].into_iter().map(|taint| {
        core::Toleration {
            key: Some(taint.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoExecute".to_owned()),
            toleration_seconds: Some(60),
            ..core::Toleration::default()
        }
    })
}

fn with_own_taint(configured: &[Toleration], key: &str) -> Vec<core::Toleration> {
    let own = core::Toleration {
        key: Some(key.to_owned()),
        operator: Some("Equal".to_owned()),
        value: Some("true".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..core::Toleration::default()
    };
    let configured = configured.iter().map(|toleration| core::Toleration {
        key: toleration.key.clone(),
        operator: Some(toleration.operator.as_str().to_owned()),
        value: toleration.value.clone(),
        effect: toleration.effect.map(|effect| effect.as_str().to_owned()),
        toleration_seconds: toleration.toleration_seconds,
    });
    configured.chain([own]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_is_reserved_only_if_it_is_set() {
        let mut resources = Resources::builder();
        resources.limits.ephemeral_storage = Some(10_240);
        let requirements = resource_requirements(&resources);
        let limits = requirements.limits.expect("limits");
        assert_eq!(limits["cpu"].0, "4");
        assert_eq!(limits["memory"].0, "8Gi");
        assert_eq!(limits["ephemeral-storage"].0, "10Gi");
        let requests = requirements.requests.expect("requests");
        assert_eq!(requests.keys().collect::<Vec<_>>(), ["cpu", "memory"]);
    }

    #[test]
    fn builds_are_tolerated_last_and_always() {
        let keys = |configured: &[Toleration]| -> Vec<String> {
            tolerations(configured).into_iter().filter_map(|toleration| toleration.key).collect()
        };
        assert_eq!(keys(&[]), ["garden-build"]);
        assert_eq!(keys(&[Toleration::exists("dedicated")]), ["dedicated", "garden-build"]);
        assert_eq!(system_tolerations(&[])[0].key.as_deref(), Some("garden-system"));
    }
}
