//! The `NetworkPolicy` of a service: who may connect to its pods over the cluster's network.
//!
//! Where pods of ours connect to is not limited, as their builds do. A policy does not concern what reaches a pod in other ways: commands and
//! forwarded ports come through the API server and the pod's node, and what comes from the node itself is always let in, such as
//! probes, and pulls by the host port of the registry's proxies.
//! Source: Kubernetes 1.34, `api/networking/v1/types.go` (`NetworkPolicySpec`).
//!
//! Why: docs/decisions/65-network-policies-go-by-label.md

use std::collections::BTreeMap;

use garden_build_core::{Digest, EventSink, WarningCode};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::{Cluster, ClusterError, name_of};
use crate::ownership::{BUILD_LABEL, MANAGED_BY_LABEL, MANAGER};
use crate::service::deployment::refuse_foreign;
use crate::service::judge::foreign;
use crate::service::{CONFIGURATION, DeploymentWords, configuration, service_labels};

/// Who may connect to the pods of a service over the cluster's network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllowedPeers {
    /// Nobody.
    Nobody,
    /// The pods of single builds, in its own namespace.
    PodsOfBuilds,
    /// All pods that we make, in all namespaces.
    OurPods,
    /// Whoever reaches this TCP port, on which the service itself asks who they are.
    Port(u16),
}

/// Returns the `NetworkPolicy` for the pods of our Deployment or `DaemonSet` called `name`.
#[allow(clippy::useless_conversion, reason = "not useless in every version of the Kubernetes API")]
pub(crate) fn network_policy(name: &str, metadata: ObjectMeta, allowed: AllowedPeers) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        // `into`: whether this field is optional differs between versions of the Kubernetes API.
        pod_selector: labelled(service_labels(name)).into(),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(rules(allowed)),
        ..NetworkPolicySpec::default()
    };
    let configuration = Digest::of(&serde_json::to_vec(&spec).unwrap_or_default()).hex();
    let mut metadata = metadata;
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(CONFIGURATION.to_owned(), configuration[..16].to_owned());
    NetworkPolicy { metadata, spec: Some(spec) }
}

/// What no rule allows is not let in.
fn rules(allowed: AllowedPeers) -> Vec<NetworkPolicyIngressRule> {
    let ours = || labelled([(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned())].into());
    let from =
        |peer| NetworkPolicyIngressRule { from: Some(vec![peer]), ..NetworkPolicyIngressRule::default() };
    match allowed {
        AllowedPeers::Nobody => Vec::new(),
        AllowedPeers::PodsOfBuilds => {
            let is_of_build = LabelSelectorRequirement {
                key: BUILD_LABEL.to_owned(),
                operator: "Exists".to_owned(),
                values: None,
            };
            let pods = LabelSelector { match_expressions: Some(vec![is_of_build]), ..ours() };
            // Without a selector of namespaces, it is the policy's own.
            vec![from(NetworkPolicyPeer { pod_selector: Some(pods), ..NetworkPolicyPeer::default() })]
        }
        AllowedPeers::OurPods => vec![from(NetworkPolicyPeer {
            pod_selector: Some(ours()),
            // An empty one chooses all.
            namespace_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        })],
        AllowedPeers::Port(port) => {
            let port = NetworkPolicyPort {
                port: Some(IntOrString::Int(i32::from(port))),
                protocol: Some("TCP".to_owned()),
                ..NetworkPolicyPort::default()
            };
            vec![NetworkPolicyIngressRule { ports: Some(vec![port]), ..NetworkPolicyIngressRule::default() }]
        }
    }
}

fn labelled(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// The `NetworkPolicy` of a service, whether it is there, and whether it is to be there. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServicePolicy {
    cluster: Cluster,
    words: &'static DeploymentWords,
    object: NetworkPolicy,
    is_wanted: bool,
}

impl ServicePolicy {
    /// Describes the policy that lets the `allowed` peers in to the service of `cluster` that `words` are about. `metadata` is what all objects of the
    /// service have. A provider that does not want it asks the cluster nothing, except when it [removes](Self::remove_unwanted) it.
    pub fn new(
        cluster: &Cluster,
        words: &'static DeploymentWords,
        metadata: ObjectMeta,
        allowed: AllowedPeers,
        is_wanted: bool,
    ) -> Self {
        let object = network_policy(words.name, metadata, allowed);
        Self { cluster: cluster.clone(), words, object, is_wanted }
    }

    /// Returns the object, if it is wanted.
    pub fn wanted(&self) -> Option<&NetworkPolicy> {
        self.is_wanted.then_some(&self.object)
    }

    /// Whether it is wanted, and is not there in this form.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has made one of its name.
    pub async fn is_due(&self) -> Result<bool, ClusterError> {
        if !self.is_wanted {
            return Ok(false);
        }
        let Some(live) = self.live().await? else { return Ok(true) };
        refuse_foreign(self.words, &live)?;
        Ok(configuration(&live.metadata) != configuration(&self.object.metadata))
    }

    /// Creates it, or changes the one that is there, if it is wanted. Whether one is there that is not ours, [`is_due`](Self::is_due) says before.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn apply(&self) -> Result<(), ClusterError> {
        match self.wanted() {
            Some(policy) => self.cluster.apply(policy).await.map(drop),
            None => Ok(()),
        }
    }

    /// Removes it if it is there, ours and not wanted; `events` hear of that. Whoever may not look for it is taken to have none; if it may not be deleted,
    /// it stays with a warning.
    ///
    /// # Errors
    /// If the API server cannot be reached.
    pub async fn remove_unwanted(&self, events: &EventSink) -> Result<(), ClusterError> {
        if self.is_wanted {
            return Ok(());
        }
        let live = match self.live().await {
            Err(error) if error.code() == Some(403) => return Ok(()),
            live => live?,
        };
        let is_ours = |live: &NetworkPolicy| foreign(self.words, "", &live.metadata).is_none();
        let Some(live) = live.filter(is_ours) else { return Ok(()) };
        let (namespace, name) = (self.namespace(), name_of(&live));
        match self.cluster.delete_unchanged::<NetworkPolicy>(namespace, &live.metadata).await {
            Ok(true) => events.log(format!("{name} is removed, as `networkPolicies` is not set")),
            // Somebody else sees to it at this moment.
            Ok(false) => {}
            Err(error) if error.code() == Some(403) => {
                let hint = format!("delete it, or ask for a role that may delete {name}");
                let message = format!("{name} stays, though `networkPolicies` is not set: {error}");
                events.warn(WarningCode::NetworkPolicyKept, message, Some(hint));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn live(&self) -> Result<Option<NetworkPolicy>, ClusterError> {
        self.cluster.get(self.namespace(), self.words.name).await
    }

    fn namespace(&self) -> &str {
        self.object.metadata.namespace.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
