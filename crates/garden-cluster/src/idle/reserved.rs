//! What of ours takes the room on the nodes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::name_of;
use crate::quantity::thousandths;
use crate::service::judge::has_ended;

/// So many are named.
const MOST_NAMED: usize = 5;

/// What a pod is sure to get of its node, in thousandths of a processor and of a byte.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Amounts {
    cpu: u128,
    memory: u128,
}

/// Reports how much of their nodes `pods`, which are ours, reserve, and whose they are; `None` if that is nothing. `place` says where
/// one has looked, such as ` in Namespace a`.
pub(super) fn reserved(pods: &[Pod], place: &str) -> Option<String> {
    let mut of_owners: BTreeMap<String, Amounts> = BTreeMap::new();
    let mut all = Amounts::default();
    for pod in pods.iter().filter(|pod| takes_room(pod)) {
        let amounts = requests(pod);
        all = all.plus(amounts);
        let of_owner = of_owners.entry(owner(pod)).or_default();
        *of_owner = of_owner.plus(amounts);
    }
    if all == Amounts::default() {
        return None;
    }
    let mut owners: Vec<(String, Amounts)> = of_owners.into_iter().collect();
    owners.sort_by_key(|(_, amounts)| Reverse(amounts.share_of(all)));
    let named: Vec<String> = owners
        .iter()
        .take(MOST_NAMED)
        .map(|(owner, amounts)| format!("{owner} ({} CPU, {})", cpu(amounts.cpu), memory(amounts.memory)))
        .collect();
    let more = match owners.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let (cpu, memory) = (cpu(all.cpu), memory(all.memory));
    Some(format!(
        "pods of garden-build's own{place} reserve {cpu} CPU and {memory} of memory: {}{more}",
        named.join(", ")
    ))
}

impl Amounts {
    fn of(requests: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amount =
            |name: &str| requests.and_then(|requests| thousandths(&requests.get(name)?.0)).unwrap_or(0);
        Self { cpu: amount("cpu"), memory: amount("memory") }
    }

    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }

    fn at_least(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }

    /// Which part of `all` it is, of both together, in millionths: one may lack the one or the other.
    fn share_of(self, all: Self) -> u128 {
        let part = |of: u128, all: u128| of.saturating_mul(1_000_000).checked_div(all).unwrap_or(0);
        part(self.cpu, all.cpu).saturating_add(part(self.memory, all.memory))
    }
}

/// Whether it has a node, and not ended there.
fn takes_room(pod: &Pod) -> bool {
    let has_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    has_node && !has_ended(pod)
}

/// What the scheduler counts: all containers that run at once, or an init container that takes more.
/// Source: Kubernetes 1.34, `staging/src/k8s.io/component-helpers/resource/helpers.go` (`PodRequests`).
fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    let of =
        |container: &Container| Amounts::of(container.resources.as_ref().and_then(|it| it.requests.as_ref()));
    let init = spec.init_containers.as_deref().unwrap_or_default();
    // A sidecar goes on beside the others.
    let (sidecars, once): (Vec<_>, Vec<_>) =
        init.iter().partition(|container| container.restart_policy.as_deref() == Some("Always"));
    let at_once = spec.containers.iter().chain(sidecars).map(of).fold(Amounts::default(), Amounts::plus);
    let largest = once.into_iter().map(of).fold(at_once, Amounts::at_least);
    largest.plus(Amounts::of(spec.overhead.as_ref()))
}

/// Returns whose pod it is. The pods of a Deployment have its name as a label, as their template has.
fn owner(pod: &Pod) -> String {
    let controller =
        pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let app = pod.metadata.labels.as_ref().and_then(|labels| labels.get("app"));
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match (controller.map(|owner| owner.kind.as_str()), app) {
        (Some("ReplicaSet"), Some(app)) => format!("Deployment {namespace}/{app}"),
        (Some(kind), Some(app)) => format!("{kind} {namespace}/{app}"),
        _ => name_of(pod),
    }
}

/// Writes thousandths of a processor: `3.2`.
fn cpu(thousandths: u128) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes thousandths of bytes: `1.5 GiB`, `32 MiB`.
fn memory(thousandths: u128) -> String {
    const MIB: u128 = 1 << 20;
    let mebibytes = thousandths.div_ceil(1000).div_ceil(MIB);
    if mebibytes < 1024 {
        return format!("{mebibytes} MiB");
    }
    let tenths = mebibytes * 10 / 1024;
    let text = format!("{}.{}", tenths / 10, tenths % 10);
    format!("{} GiB", text.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod with a node, of the Deployment `app` or of none, that reserves this.
    fn pod(namespace: &str, name: &str, app: Option<&str>, requests: &Value) -> Value {
        let owner = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a-1", "uid": "u", "controller": true }]);
        json!({
            "metadata": {
                "name": name, "namespace": namespace, "labels": app.map(|app| json!({ "app": app })),
                "ownerReferences": app.map(|_| owner),
            },
            "spec": { "nodeName": "node", "containers": [{ "name": "main", "resources": { "requests": requests } }] },
            "status": { "phase": "Running" },
        })
    }

    fn told(pods: &[Value]) -> Option<String> {
        let pods: Vec<Pod> =
            pods.iter().map(|pod| serde_json::from_value(pod.clone()).expect("a pod")).collect();
        reserved(&pods, "")
    }

    #[test]
    fn the_largest_come_first_with_what_they_reserve() {
        let large = json!({ "cpu": "2", "memory": "4Gi" });
        let small = json!({ "cpu": "100m", "memory": "512Mi" });
        let mut forwarder = pod("tools", "proxy-1", Some("proxy"), &json!({ "cpu": "1m" }));
        forwarder["metadata"]["ownerReferences"][0]["kind"] = "DaemonSet".into();
        let pods = [
            pod("a", "kaniko-api-1", None, &small),
            forwarder,
            pod("b", "garden-buildkit-1", Some("garden-buildkit"), &large),
            // The former one finishes its builds.
            pod("b", "garden-buildkit-2", Some("garden-buildkit"), &large),
        ];
        assert_eq!(
            told(&pods).as_deref(),
            Some(
                "pods of garden-build's own reserve 4.101 CPU and 8.5 GiB of memory: Deployment b/garden-buildkit (4 CPU, 8 GiB), \
                 Pod a/kaniko-api-1 (0.1 CPU, 512 MiB), DaemonSet tools/proxy (0.001 CPU, 0 MiB)"
            )
        );
    }

    #[test]
    fn a_few_are_named_and_the_rest_is_counted() {
        let service = json!({ "cpu": "10m", "memory": "32Mi" });
        let pods: Vec<Value> = (0..10_000)
            .map(|number| pod(&format!("n{number}"), "garden-util-1", Some("garden-util"), &service))
            .collect();
        let told = told(&pods).expect("something");
        assert!(told.starts_with("pods of garden-build's own reserve 100 CPU and 312.5 GiB"), "{told}");
        assert!(told.ends_with(", and 9995 more") && told.len() < 400, "{told}");
    }

    #[test]
    fn only_pods_on_nodes_take_room() {
        let some = json!({ "cpu": "1" });
        let (mut waiting, mut ended) = (pod("a", "w", None, &some), pod("a", "e", None, &some));
        waiting["spec"]["nodeName"] = Value::Null;
        ended["status"]["phase"] = "Succeeded".into();
        assert_eq!(told(&[waiting, ended]), None);
        assert_eq!(told(&[pod("a", "nothing", None, &json!({}))]), None);
        assert_eq!(told(&[pod("a", "nonsense", None, &json!({ "cpu": "lots", "memory": "-1" }))]), None);
    }

    #[test]
    fn sidecars_count_beside_the_others_and_an_init_container_instead() {
        let mut pod = pod("a", "p", None, &json!({ "cpu": "1", "memory": "1Gi" }));
        let container = |cpu: &str, policy: Value| json!({ "name": "i", "restartPolicy": policy, "resources": { "requests": { "cpu": cpu } } });
        pod["spec"]["initContainers"] =
            json!([container("500m", json!("Always")), container("3", Value::Null)]);
        pod["spec"]["overhead"] = json!({ "cpu": "250m" });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let amounts = requests(&pod);
        assert_eq!((cpu(amounts.cpu), memory(amounts.memory)), ("3.25".to_owned(), "1 GiB".to_owned()));
    }
}
