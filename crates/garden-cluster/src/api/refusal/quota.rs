//! What a namespace's `ResourceQuota` has against an object.
//!
//! Sources of the words: Kubernetes 1.34, `staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go` and
//! `pkg/quota/v1/evaluator/core/pods.go`; "Resource Quotas", section "Object count quota".

use super::Refusal;

/// Reads the reason of a refusal; `None` if no quota refuses.
pub(super) fn refusal(reason: &str) -> Option<Refusal> {
    if let Some(rest) = reason.strip_prefix("exceeded quota: ") {
        return Some(exceeded(rest));
    }
    if let Some(rest) = reason.strip_prefix("failed quota: ") {
        let (_, problem) = rest.split_once(": ")?;
        return problem.starts_with("must specify ").then_some(Refusal::QuotaUnspecified);
    }
    if reason.starts_with("status unknown for quota: ") {
        return Some(Refusal::QuotaUnknown);
    }
    // The cluster wants a quota for what no quota of the namespace grants.
    let grants_none = ["insufficient quota to consume: ", "insufficient quota to match these scopes: "];
    grants_none.iter().any(|beginning| reason.starts_with(beginning)).then_some(Refusal::QuotaOfNone)
}

/// `NAME, requested: pods=1,limits.cpu=4, used: pods=3,limits.cpu=1, limited: pods=3,limits.cpu=4`: all that is exceeded is named,
/// and all of it has to be put right.
fn exceeded(words: &str) -> Refusal {
    let between = |beginning: &str, end: &str| {
        let rest = words.split_once(beginning).map_or("", |(_, rest)| rest);
        rest.split_once(end).map_or(rest, |(list, _)| list)
    };
    let requested = amounts(between(", requested: ", ", used: "));
    let limited = amounts(between(", limited: ", "\n"));
    if limited.iter().any(|(_, amount)| *amount == "0") {
        Refusal::QuotaOfNone
    } else if requested.iter().any(|(resource, _)| counts_objects(resource)) {
        Refusal::QuotaOfObjects
    } else {
        Refusal::Quota
    }
}

fn amounts(list: &str) -> Vec<(&str, &str)> {
    list.split(',').filter_map(|amount| amount.trim().split_once('=')).collect()
}

/// Whether it is a number of objects, of which a smaller one counts as much.
fn counts_objects(resource: &str) -> bool {
    const KINDS: [&str; 9] = [
        "pods",
        "persistentvolumeclaims",
        "services",
        "services.loadbalancers",
        "services.nodeports",
        "secrets",
        "configmaps",
        "replicationcontrollers",
        "resourcequotas",
    ];
    resource.starts_with("count/")
        || KINDS.contains(&resource)
        || resource.ends_with(".storageclass.storage.k8s.io/persistentvolumeclaims")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kubernetes 1.34 says it.
    #[test]
    fn too_much_one_too_many_none_at_all_and_unsaid_are_told_apart() {
        let exceeded = |requested: &str, limited: &str| {
            format!("exceeded quota: small, requested: {requested}, used: x=0, limited: {limited}")
        };
        for (reason, expected) in [
            (exceeded("limits.cpu=4", "limits.cpu=2"), Refusal::Quota),
            (exceeded("requests.storage=20Gi", "requests.storage=10Gi"), Refusal::Quota),
            (exceeded("pods=1", "pods=3"), Refusal::QuotaOfObjects),
            // A smaller pod is one too many as well.
            (exceeded("pods=1,requests.memory=64Mi", "pods=3,requests.memory=1Gi"), Refusal::QuotaOfObjects),
            (
                exceeded(
                    "count/persistentvolumeclaims=1,persistentvolumeclaims=1",
                    "count/persistentvolumeclaims=2,persistentvolumeclaims=2",
                ),
                Refusal::QuotaOfObjects,
            ),
            (
                exceeded(
                    "fast.storageclass.storage.k8s.io/persistentvolumeclaims=1",
                    "fast.storageclass.storage.k8s.io/persistentvolumeclaims=1",
                ),
                Refusal::QuotaOfObjects,
            ),
            (exceeded("pods=1", "pods=0"), Refusal::QuotaOfNone),
            (exceeded("count/deployments.apps=1", "count/deployments.apps=0"), Refusal::QuotaOfNone),
            (exceeded("limits.memory=8Gi", "limits.memory=0"), Refusal::QuotaOfNone),
            (
                "failed quota: compute: must specify limits.cpu for: garden-util; memory for: istio-proxy"
                    .to_owned(),
                Refusal::QuotaUnspecified,
            ),
            (
                "status unknown for quota: compute, resources: limits.cpu,pods".to_owned(),
                Refusal::QuotaUnknown,
            ),
            ("insufficient quota to consume: requests.nvidia.com/gpu".to_owned(), Refusal::QuotaOfNone),
        ] {
            assert_eq!(refusal(&reason), Some(expected), "{reason}");
        }
    }
}
