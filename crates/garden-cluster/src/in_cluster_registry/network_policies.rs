//! Who may connect to the pods of the registry and of its proxies.

use futures::future::try_join_all;
use garden_build_core::EventSink;

use super::{InClusterRegistry, spec};
use crate::api::ClusterError;
use crate::service::{AllowedPeers, ServicePolicy};

impl InClusterRegistry {
    /// Builders push and pull, and the proxies hand on what the nodes pull. Nobody connects to a proxy but its own node.
    fn policies(&self) -> [ServicePolicy; 2] {
        let policy = |words, name, allowed| {
            let metadata = spec::metadata(name, &self.settings);
            ServicePolicy::new(&self.cluster, words, metadata, allowed, self.settings.network_policies)
        };
        [
            policy(&self.words.registry, Self::NAME, AllowedPeers::OurPods),
            policy(&self.words.proxy, Self::PROXY, AllowedPeers::Nobody),
        ]
    }

    /// Makes sure that no other program has made a policy that is wanted.
    pub(super) async fn refuse_foreign_policies(&self) -> Result<(), ClusterError> {
        let policies = self.policies();
        try_join_all(policies.iter().map(ServicePolicy::is_due)).await.map(drop)
    }

    pub(super) async fn apply_policies(&self) -> Result<(), ClusterError> {
        let policies = self.policies();
        try_join_all(policies.iter().map(ServicePolicy::apply)).await.map(drop)
    }

    pub(super) async fn remove_unwanted_policies(&self, events: &EventSink) -> Result<(), ClusterError> {
        let policies = self.policies();
        try_join_all(policies.iter().map(|policy| policy.remove_unwanted(events))).await.map(drop)
    }
}
